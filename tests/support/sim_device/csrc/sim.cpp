// A backend of torch outside torch: two simulated accelerators of type PrivateUse1.

#include "profiler.h"
#include "recurrent.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

namespace {

struct Registration {
  Registration() {
    sim::read_environment();
    if (sim::fault("no_counters")) {
      c10::SetAllocator(sim::TYPE, new sim::UncountedMemory());
    } else {
      c10::SetAllocator(sim::TYPE, new sim::DeviceMemory());
    }
    at::setHostAllocator(sim::TYPE, &sim::PinnedMemory::get());
    at::RegisterPrivateUse1HooksInterface(new sim::Hooks());
    sim::Driver::get();
    if (!sim::fault("no_profiler")) {
      sim::register_profiler();
    }
  }
} registration;

c10::impl::DeviceGuardImplRegistrar guard(sim::TYPE, new sim::Guard());

at::Tensor unsafe_in_half(
    const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, int64_t) {
  TORCH_CHECK(false, "binary_cross_entropy is unsafe to autocast; use the one with logits");
}

} // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&sim::any_operator>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", sim::empty);
  m.impl("empty_strided", sim::empty_strided);
  m.impl("resize_", sim::resize);
  m.impl("set_.source_Storage_storage_offset", sim::set_storage);
  m.impl("_copy_from", sim::copy_between);
  m.impl("_copy_from_and_resize", sim::copy_and_resize);
  m.impl("_local_scalar_dense", sim::one_number);
  m.impl("_thnn_fused_lstm_cell", sim::lstm_cell);
  m.impl("_thnn_fused_lstm_cell_backward_impl", sim::lstm_cell_backward);
  m.impl("_thnn_fused_gru_cell", sim::gru_cell);
  m.impl("_thnn_fused_gru_cell_backward", sim::gru_cell_backward);
  m.impl(
      "convolution_overrideable",
      torch::CppFunction::makeFromBoxedFunction<&sim::convolution>());
  m.impl(
      "convolution_backward_overrideable",
      torch::CppFunction::makeFromBoxedFunction<&sim::convolution_backward>());
}

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFallthrough());
}

// The lists of operators are torch's own, those that CUDA has.  Their macros name types of ATen, and
// which ones differs from torch to torch.
using namespace at;
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
#define LOWER(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
  AT_FORALL_LOWER_PRECISION_FP(LOWER)
#undef LOWER
#define FP32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
  AT_FORALL_FP32(FP32)
#undef FP32
#define FP32_DTYPE(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
  AT_FORALL_FP32_SET_OPT_DTYPE(FP32_DTYPE)
#undef FP32_DTYPE
  AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE(
      KERNEL_DIFFERENT_REDISPATCH_SIGNATURE_PRIVATEUSEONE)
#define PROMOTE(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)
  AT_FORALL_PROMOTE(PROMOTE)
#undef PROMOTE
  m.impl("binary_cross_entropy", unsafe_in_half);
}

// What Python asks for, by ctypes.
extern "C" {

int sim_device_count() {
  return sim::DEVICES;
}

int sim_is_initialized() {
  return sim::Driver::get().initialised();
}

int sim_in_bad_fork() {
  return sim::Driver::get().bad_fork();
}

int64_t sim_kernels() {
  return sim::Timeline::get().kernels();
}

// Returns 0, or 1 where there is no setting of this name.
int sim_set(const char* name, double value) {
  const auto found = sim::settings().find(name);
  if (found == sim::settings().end()) {
    return 1;
  }
  found->second = value;
  return 0;
}

void sim_set_faults(const char* names) {
  sim::faults() = names;
}

} // extern "C"
