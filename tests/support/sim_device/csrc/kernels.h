// Operators: the CPU's kernels on the device's memory, and the time that each costs.

#pragma once

#include "guard.h"

#include <ATen/EmptyTensor.h>
#include <ATen/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_cpu_dispatch.h>
#include <ATen/record_function.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <functional>
#include <optional>
#include <set>
#include <utility>

// Of the OpenMP that torch brings along; its number of threads is each thread's own.
extern "C" {
int omp_get_max_threads();
void omp_set_num_threads(int threads);
}

namespace sim {

inline bool on_sim(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == TYPE;
}

// --- the cost of a launch --------------------------------------------------------------------

// From its making to its end: the host's part of one kernel.  `end` gives the device its part.
class Launch {
 public:
  explicit Launch(c10::DeviceIndex device) : device_(device) { Driver::get().use(device); }

  void end(const std::string& name, size_t bytes) {
    int64_t host_ns = setting_ns("launch_us", 1e3);
    if (first(name)) {
      host_ns += setting_ns("first_us", 1e3);
    }
    wait_until(began_ns_ + host_ns);
    const double kib = static_cast<double>(bytes) / 1024.0;
    const c10::Stream stream = stream_of(device_);
    const Span span = Timeline::get().submit(
        stream, setting_ns("kernel_us", 1e3) + setting_ns("kernel_ns_per_kib", kib));
    const int64_t number = Trace::get().next();
    Trace::get().called("simLaunchKernel", number, began_ns_);
    Trace::get().worked(Kind::KERNEL, kernel_of(name), number, stream, span);
  }

 private:
  // sim_addmm of aten::addmm: a kernel has a name of the maker's own.
  static std::string kernel_of(const std::string& name) {
    const size_t colons = name.rfind("::");
    return "sim_" + (colons == std::string::npos ? name : name.substr(colons + 2));
  }

  static bool first(const std::string& name) {
    static std::mutex mutex;
    static auto* seen = new std::set<std::string>();
    std::lock_guard<std::mutex> held(mutex);
    return seen->insert(name).second;
  }

  const int64_t began_ns_ = now_ns();
  const c10::DeviceIndex device_;
};

// --- the same memory as a tensor of the CPU ----------------------------------------------------

// A tensor of `like`'s dtype on this storage.
inline at::Tensor on_storage(
    c10::Storage storage, c10::DispatchKey key, const at::Tensor& like) {
  auto made = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(key), like.dtype());
  made.unsafeGetTensorImpl()->set_sizes_and_strides(
      like.sizes(), like.strides(), like.storage_offset());
  return made;
}

// Tensors of the CPU in place of those of the device, for one operator.  Tensors that share memory
// share it there, too.
class Stand {
 public:
  at::Tensor in(const at::Tensor& own) {
    if (!on_sim(own)) {
      return own;
    }
    auto* key = own.storage().unsafeGetStorageImpl();
    auto found = storages_.find(key);
    if (found == storages_.end()) {
      c10::Storage shared(
          c10::Storage::use_byte_size_t(),
          own.storage().nbytes(),
          c10::DataPtr(own.storage().mutable_data(), c10::Device(c10::DeviceType::CPU)),
          c10::GetAllocator(c10::DeviceType::CPU),
          /*resizable=*/true);
      found = storages_.emplace(key, Pair{own.storage(), std::move(shared)}).first;
    }
    auto made = on_storage(found->second.shared, c10::DispatchKey::CPU, own);
    if (own.unsafeGetTensorImpl()->is_wrapped_number()) {
      made.unsafeGetTensorImpl()->set_wrapped_number(true);
    }
    tensors_.emplace_back(own, made);
    bytes_ += own.nbytes();
    return made;
  }

  // What the operator did to the shapes and the memory of what it was given.
  void write_back() {
    for (auto& [own, made] : tensors_) {
      auto* shared = made.storage().unsafeGetStorageImpl();
      const auto pair = storages_.find(own.storage().unsafeGetStorageImpl());
      TORCH_CHECK(
          pair != storages_.end() && pair->second.shared.unsafeGetStorageImpl() == shared,
          "sim: an operator put a tensor on other memory");
      if (made.sizes() == own.sizes() && made.strides() == own.strides() &&
          shared->data() == own.storage().data()) {
        continue;
      }
      if (shared->data() != own.storage().data()) {
        auto* impl = own.storage().unsafeGetStorageImpl();
        const c10::DeviceGuard guard(own.device());
        auto grown = Cache::get().allocate(shared->nbytes());
        std::memcpy(grown.get(), shared->data(), shared->nbytes());
        impl->set_data_ptr_noswap(std::move(grown));
        impl->set_nbytes(shared->nbytes());
      }
      own.unsafeGetTensorImpl()->set_sizes_and_strides(
          made.sizes(), made.strides(), made.storage_offset());
    }
  }

  // The device's tensor for a result of the CPU: what it was given, a view of that, or a new one.
  at::Tensor out(const at::Tensor& made, c10::Device device) {
    if (!made.defined()) {
      return made;
    }
    for (const auto& [own, given] : tensors_) {
      if (given.is_same(made)) {
        return own;
      }
    }
    for (const auto& [own, given] : tensors_) {
      if (given.storage().unsafeGetStorageImpl() == made.storage().unsafeGetStorageImpl()) {
        return view(own, made);
      }
    }
    const c10::DeviceGuard guard(device);
    const size_t bytes = made.storage().nbytes();
    auto memory = Cache::get().allocate(bytes);
    if (bytes > 0) {
      std::memcpy(memory.get(), made.storage().data(), bytes);
    }
    bytes_ += bytes;
    c10::Storage storage(
        c10::Storage::use_byte_size_t(),
        bytes,
        std::move(memory),
        c10::GetAllocator(TYPE),
        /*resizable=*/true);
    return on_storage(std::move(storage), c10::DispatchKey::PrivateUse1, made);
  }

  size_t bytes() const { return bytes_; }

 private:
  // Of the same keys: in inference mode a view of a normal tensor is a normal tensor.
  static at::Tensor view(const at::Tensor& base, const at::Tensor& like) {
    auto made = at::detail::make_tensor<c10::TensorImpl>(
        c10::TensorImpl::VIEW, c10::Storage(base.storage()), base.key_set(), like.dtype());
    made.unsafeGetTensorImpl()->set_sizes_and_strides(
        like.sizes(), like.strides(), like.storage_offset());
    return made;
  }

  struct Pair {
    c10::Storage own;
    c10::Storage shared;
  };

  std::map<c10::StorageImpl*, Pair> storages_;
  std::vector<std::pair<at::Tensor, at::Tensor>> tensors_;
  size_t bytes_ = 0;
};

// --- any operator ------------------------------------------------------------------------------

// Replace each tensor of a value, in lists as well.
inline c10::IValue with_tensors(
    const c10::IValue& value, const std::function<at::Tensor(const at::Tensor&)>& change) {
  if (value.isTensor()) {
    return change(value.toTensor());
  }
  if (value.isTensorList()) {
    c10::List<at::Tensor> changed;
    for (const at::Tensor& one : value.toTensorVector()) {
      changed.push_back(change(one));
    }
    return changed;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> changed;
    for (const std::optional<at::Tensor>& one : value.toOptionalTensorVector()) {
      changed.push_back(one.has_value() ? std::make_optional(change(*one)) : std::nullopt);
    }
    return changed;
  }
  return value;
}

// Work of the CPU's that neither autograd, autocast nor the profiler should see as its own.  On one
// thread: what a device computes does not depend on the processors of its host.
struct Hidden {
  Hidden() { omp_set_num_threads(1); }
  ~Hidden() { omp_set_num_threads(threads); }
  Hidden(const Hidden&) = delete;
  Hidden& operator=(const Hidden&) = delete;

  const int threads = omp_get_max_threads();
  at::AutoDispatchBelowADInplaceOrView below;
  c10::impl::ExcludeDispatchKeyGuard no_autocast{c10::autocast_dispatch_keyset};
  at::DisableRecordFunctionGuard no_records;
};

// Where the operator runs; tensors on two devices are an error, but for numbers and indices.
inline c10::Device device_of(
    const c10::OperatorHandle& op, const torch::jit::Stack& stack, size_t first) {
  std::optional<c10::Device> found;
  bool host = false;
  const bool indexes = op.schema().name().find("index") != std::string::npos;
  const auto look = [&](const at::Tensor& tensor) {
    if (on_sim(tensor)) {
      TORCH_CHECK(
          !found.has_value() || *found == tensor.device(),
          "Expected all tensors to be on the same device, but found at least two devices, ",
          *found, " and ", tensor.device(), "!");
      found = tensor.device();
    } else if (tensor.defined() && tensor.dim() > 0) {
      host = true;
    }
    return tensor;
  };
  for (size_t at = first; at < stack.size(); ++at) {
    with_tensors(stack[at], look);
    if (stack[at].isDevice() && !found.has_value()) {
      const c10::Device asked = stack[at].toDevice();
      found = asked.has_index() ? asked : c10::Device(TYPE, current_device());
    }
  }
  TORCH_CHECK(
      !host || !found.has_value() || indexes,
      "Expected all tensors to be on the same device, but found at least two devices, ",
      *found, " and cpu! (when checking arguments of ", op.schema().name(), ")");
  return found.value_or(c10::Device(TYPE, current_device()));
}

inline bool only_views(const c10::OperatorHandle& op) {
  const auto& returns = op.schema().returns();
  return !returns.empty() && std::all_of(returns.begin(), returns.end(), [](const auto& one) {
    return one.alias_info() != nullptr && !one.alias_info()->isWrite();
  });
}

// Run `op` as `as` of the CPU; `prepare` may change the arguments on the stack before.
inline void run(
    const c10::OperatorHandle& op,
    const c10::OperatorHandle& as,
    torch::jit::Stack* stack,
    const std::function<void(torch::jit::Stack&, size_t)>& prepare = {}) {
  size_t first = stack->size() - op.schema().arguments().size();
  const c10::Device device = device_of(op, *stack, first);
  const bool kernel = !only_views(op);
  Launch launch(device.index());
  Stand stand;
  at::Generator own_generator;
  at::Generator host_generator;
  for (size_t at = first; at < stack->size(); ++at) {
    auto& value = (*stack)[at];
    value = with_tensors(value, [&](const at::Tensor& tensor) { return stand.in(tensor); });
    if (value.isDevice()) {
      value = c10::Device(c10::DeviceType::CPU);
    } else if (value.isGenerator() && value.toGenerator().device().type() == TYPE) {
      own_generator = value.toGenerator();
      host_generator = at::make_generator<at::CPUGeneratorImpl>();
      host_generator.set_state(own_generator.get_state());
      value = host_generator;
    }
  }
  if (prepare) {
    prepare(*stack, first);
  }
  {
    const Hidden hidden;
    as.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  }
  if (own_generator.defined()) {
    own_generator.set_state(host_generator.get_state());
  }
  stand.write_back();
  first = stack->size() - as.schema().returns().size();
  for (size_t at = first; at < stack->size(); ++at) {
    (*stack)[at] = with_tensors(
        (*stack)[at], [&](const at::Tensor& made) { return stand.out(made, device); });
  }
  if (kernel) {
    launch.end(op.schema().name(), stand.bytes());
  }
}

inline void any_operator(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  run(op, op, stack);
}

inline c10::OperatorHandle operator_named(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

// torch leaves convolutions of a device that it does not know to operators of these names.
inline void convolution(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  static const auto as = operator_named("aten::convolution");
  run(op, as, stack);
}

inline void convolution_backward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  static const auto as = operator_named("aten::convolution_backward");
  run(op, as, stack, [](torch::jit::Stack& all, size_t first) {
    const bool transposed = all[first + 6].toBool();
    const at::Tensor& weight = all[first + 2].toTensor();
    const int64_t groups = all[first + 8].toInt();
    const int64_t channels = transposed ? weight.size(1) * groups : weight.size(0);
    all.insert(all.begin() + static_cast<int64_t>(first) + 3, c10::List<int64_t>({channels}));
  });
}

// --- making tensors, and copies ----------------------------------------------------------------

inline c10::Device device_or_current(std::optional<c10::Device> device) {
  return device.has_value() && device->has_index() ? *device
                                                   : c10::Device(TYPE, current_device());
}

inline at::Tensor empty(
    c10::IntArrayRef sizes,
    std::optional<c10::ScalarType> dtype,
    std::optional<c10::Layout>,
    std::optional<c10::Device> device,
    std::optional<bool>,
    std::optional<c10::MemoryFormat> format) {
  const c10::DeviceGuard guard(device_or_current(device));
  return at::detail::empty_generic(
      sizes,
      c10::GetAllocator(TYPE),
      c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
      c10::dtype_or_default(dtype),
      format);
}

inline at::Tensor empty_strided(
    c10::IntArrayRef sizes,
    c10::IntArrayRef strides,
    std::optional<c10::ScalarType> dtype,
    std::optional<c10::Layout>,
    std::optional<c10::Device> device,
    std::optional<bool>) {
  const c10::DeviceGuard guard(device_or_current(device));
  return at::detail::empty_strided_generic(
      sizes,
      strides,
      c10::GetAllocator(TYPE),
      c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
      c10::dtype_or_default(dtype));
}

inline const at::Tensor& resize(
    const at::Tensor& self, c10::IntArrayRef sizes, std::optional<c10::MemoryFormat> format) {
  const c10::DeviceGuard guard(self.device());
  return at::native::resize_(self, sizes, format);
}

inline at::Tensor& set_storage(
    at::Tensor& self,
    at::Storage source,
    int64_t offset,
    c10::IntArrayRef sizes,
    c10::IntArrayRef strides) {
  return at::cpu::set_(self, std::move(source), offset, sizes, strides);
}

// Into `to`, of the same shape.  Between host and device it takes as long as its bytes do; the
// host waits for all but copies of pinned memory for which nobody wants to wait.
inline at::Tensor copy_between(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  const at::Tensor& own = on_sim(from) ? from : to;
  Launch launch(own.device().index());
  {
    const Hidden hidden;
    Stand stand;
    const at::Tensor source = stand.in(from);
    at::Tensor target = stand.in(to);
    target.copy_(source);
  }
  launch.end("copy", own.nbytes());
  const c10::Stream stream = stream_of(own.device().index());
  if (on_sim(from) && on_sim(to)) {
    if (from.device() != to.device()) {
      Timeline::get().hold(
          stream_of(to.device().index()), Timeline::get().done_ns(stream));
    }
    return to;
  }
  const at::Tensor& host = on_sim(from) ? to : from;
  const bool pinned = PinnedMemory::get().has(host.storage().data());
  const char* cost = pinned ? "pinned_ns_per_kib" : "pageable_ns_per_kib";
  const bool waits = !(pinned && non_blocking);
  const Call call(waits ? "simCopy" : "simCopyLater");
  const Span span = Timeline::get().submit(
      stream, setting_ns(cost, static_cast<double>(host.nbytes()) / 1024.0));
  const char* name = on_sim(from) ? "sim_to_host" : "sim_from_host";
  Trace::get().worked(Kind::COPY, name, call.number, stream, span);
  if (waits) {
    Timeline::get().wait(stream);
  }
  return to;
}

inline at::Tensor copy_and_resize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return copy_between(from, to, false);
}

inline c10::Scalar one_number(const at::Tensor& self) {
  Launch launch(self.device().index());
  c10::Scalar found;
  {
    const Hidden hidden;
    Stand stand;
    found = stand.in(self).item();
  }
  launch.end("_local_scalar_dense", self.nbytes());
  const Call call("simStreamSynchronize");
  Timeline::get().wait(stream_of(self.device().index()));
  return found;
}

inline void Hooks::resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const {
  const c10::DeviceGuard guard(storage.device());
  at::native::resize_bytes_cpu(storage.unsafeGetStorageImpl(), bytes);
}

} // namespace sim
