// What torch asks of a device: which is current, its streams and events, its driver.

#pragma once

#include "memory.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace sim {

struct Event {
  int64_t at_ns; // when its stream comes to it
  int64_t stamp_ns; // the time that it tells
};

struct Guard final : public c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return TYPE; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return {TYPE, current_device()}; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(
        device.index() >= 0 && device.index() < DEVICES,
        "sim: invalid device ordinal ", static_cast<int>(device.index()));
    current_device() = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    current_device() = device.index();
  }
  c10::DeviceIndex deviceCount() const noexcept override { return DEVICES; }

  c10::Stream getStream(c10::Device device) const override { return stream_of(device.index()); }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, 0);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    return getNewStream(device, 0);
  }
  c10::Stream getNewStream(c10::Device device, int) const override {
    static std::atomic<int64_t> given{0};
    const auto index = device.has_index() ? device.index() : current_device();
    Driver::get().use(index);
    return c10::Stream(c10::Stream::UNSAFE, c10::Device(TYPE, index), 1 + given++ % (STREAMS - 1));
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    const c10::Stream before = stream_of(stream.device_index());
    current_streams().at(stream.device_index()) = stream.id();
    return before;
  }
  bool queryStream(const c10::Stream& stream) const override {
    return Timeline::get().idle(stream);
  }
  void synchronizeStream(const c10::Stream& stream) const override {
    Driver::get().use(stream.device_index());
    const Call call("simStreamSynchronize");
    Timeline::get().wait(stream);
  }
  void synchronizeDevice(const c10::DeviceIndex given) const override {
    const auto index = given < 0 ? current_device() : given;
    Driver::get().use(index);
    TORCH_CHECK_NOT_IMPLEMENTED(!fault("no_synchronize"), "sim cannot be waited for");
    if (!fault("no_wait")) {
      const Call call("simDeviceSynchronize");
      Timeline::get().wait(index);
    }
  }

  void record(
      void** event, const c10::Stream& stream, const c10::DeviceIndex, const c10::EventFlag)
      const override {
    TORCH_CHECK(!fault("no_events"), "sim backend doesn't support events.");
    Driver::get().use(stream.device_index());
    const int64_t at_ns = Timeline::get().done_ns(stream);
    delete static_cast<Event*>(*event);
    *event = new Event{at_ns, fault("host_stamps") ? now_ns() : at_ns};
  }
  void block(void* event, const c10::Stream& stream) const override {
    if (event != nullptr) {
      Timeline::get().hold(stream, static_cast<Event*>(event)->at_ns);
    }
  }
  bool queryEvent(void* event) const override {
    return event == nullptr || static_cast<Event*>(event)->at_ns <= now_ns();
  }
  void synchronizeEvent(void* event) const override {
    if (event != nullptr && !fault("no_wait")) {
      const Call call("simEventSynchronize");
      wait_until(static_cast<Event*>(event)->at_ns);
    }
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<Event*>(event);
  }
  double elapsedTime(void* first, void* last, const c10::DeviceIndex) const override {
    TORCH_CHECK(first != nullptr && last != nullptr, "Both events must be recorded.");
    TORCH_CHECK(queryEvent(first) && queryEvent(last), "Both events must be completed.");
    const auto elapsed_ns =
        static_cast<Event*>(last)->stamp_ns - static_cast<Event*>(first)->stamp_ns;
    return static_cast<double>(elapsed_ns) / 1e6 * (fault("half_time_events") ? 0.5 : 1.0);
  }
};

// Random numbers are the CPU's; only the device that the generator names is its own.
struct Generator final : public at::CPUGeneratorImpl {
  explicit Generator(c10::DeviceIndex index) {
    device_ = c10::Device(TYPE, index);
    key_set_ = c10::DispatchKeySet(c10::DispatchKey::PrivateUse1);
  }
};

struct Hooks final : public at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex index) const override {
    return Driver::get().opened(index);
  }
  void init() const override { Driver::get().use(current_device()); }
  c10::DeviceIndex deviceCount() const override { return DEVICES; }
  void setCurrentDevice(c10::DeviceIndex index) const override {
    Guard().setDevice({TYPE, index});
  }
  c10::DeviceIndex getCurrentDevice() const override { return current_device(); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override {
    return Guard().exchangeDevice({TYPE, index}).index();
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override {
    return index < 0 ? current_device() : exchangeDevice(index);
  }
  bool isPinnedPtr(const void* data) const override { return PinnedMemory::get().has(data); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &PinnedMemory::get(); }
  c10::Device getDeviceFromPtr(void*) const override { return {TYPE, current_device()}; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) const override {
    static auto* defaults = new std::array<at::Generator, DEVICES>{
        at::make_generator<Generator>(0), at::make_generator<Generator>(1)};
    return defaults->at(index < 0 ? current_device() : index);
  }
  at::Generator getNewGenerator(c10::DeviceIndex index) const override {
    return at::make_generator<Generator>(index < 0 ? current_device() : index);
  }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override;
};

} // namespace sim
