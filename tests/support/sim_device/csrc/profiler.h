// Gives the device's work to torch's profiler (seen in 2.13; torch 2.11 has no place for it).

#pragma once

#include "trace.h"

#if __has_include(<torch/csrc/profiler/standalone/privateuse1_profiler.h>)
#define SIM_HAS_PROFILER

#include <torch/csrc/profiler/standalone/privateuse1_profiler.h>

#include <libkineto.h>
#include <output_base.h>

#include <limits>
#include <set>

namespace sim {

using libkineto::ActivityType;

// Kineto's clock has the zero of time(2).  Of several tries the quickest errs least.
inline int64_t unix_minus_own_ns() {
  int64_t best_ns = 0;
  int64_t least_ns = std::numeric_limits<int64_t>::max();
  for (int attempt = 0; attempt < 20; ++attempt) {
    timespec time{};
    const int64_t before_ns = now_ns();
    clock_gettime(CLOCK_REALTIME, &time);
    const int64_t took_ns = now_ns() - before_ns;
    if (took_ns < least_ns) {
      least_ns = took_ns;
      best_ns = int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec - (before_ns + took_ns / 2);
    }
  }
  return best_ns;
}

class ProfilerSession final : public libkineto::IActivityProfilerSession {
 public:
  void start() override {
    shift_ns_ = unix_minus_own_ns();
    Trace::get().begin();
    status_ = libkineto::TraceStatus::RECORDING;
  }

  void stop() override {
    Trace::get().stop();
    records_ = Trace::get().taken();
    status_ = libkineto::TraceStatus::PROCESSING;
  }

  std::vector<std::string> errors() override { return {}; }

  void processTrace(libkineto::ActivityLogger& logger) override {
    const auto none = [](int32_t) -> const libkineto::ITraceActivity* { return nullptr; };
    processTrace(logger, none, 0, 0);
  }

  void processTrace(
      libkineto::ActivityLogger& logger,
      libkineto::getLinkedActivityCallback operator_of,
      int64_t start_ns,
      int64_t) override {
    std::set<int64_t> launched;
    for (const Record& one : records_) {
      if (one.kind != Kind::CALL) {
        launched.insert(one.number);
        streams_.emplace(one.device, one.stream);
      }
    }
    for (const Record& one : records_) {
      auto activity = activity_of(one, launched.count(one.number) > 0);
      activity.linked = one.op == 0 ? nullptr : operator_of(static_cast<int32_t>(one.op));
      activity.log(logger);
    }
    // Kineto asks for one device; the others of the process are told here.
    for (c10::DeviceIndex index = 1; index < DEVICES; ++index) {
      logger.handleDeviceInfo(info_of(index), start_ns);
    }
  }

  std::unique_ptr<libkineto::DeviceInfo> getDeviceInfo() override {
    return std::make_unique<libkineto::DeviceInfo>(info_of(0));
  }

  std::vector<libkineto::ResourceInfo> getResourceInfos() override {
    std::vector<libkineto::ResourceInfo> found;
    for (const auto& [device, stream] : streams_) {
      found.push_back({stream, stream, device, "stream " + std::to_string(stream)});
    }
    return found;
  }

  std::unique_ptr<libkineto::CpuTraceBuffer> getTraceBuffer() override { return nullptr; }

  void pushCorrelationId(uint64_t id) override { Trace::get().push(id); }
  void popCorrelationId() override { Trace::get().pop(); }

 private:
  static libkineto::DeviceInfo info_of(c10::DeviceIndex index) {
    const std::string name = "sim:" + std::to_string(index);
    return {index, libkineto::kExceedMaxPid + index, name, name};
  }

  static ActivityType type_of(Kind kind) {
    switch (kind) {
      case Kind::KERNEL:
        return ActivityType::CONCURRENT_KERNEL;
      case Kind::COPY:
        return ActivityType::GPU_MEMCPY;
      default:
        return ActivityType::PRIVATEUSE1_RUNTIME;
    }
  }

  libkineto::GenericTraceActivity activity_of(const Record& record, bool launches) const {
    static const libkineto::TraceSpan span(0, 0, "sim");
    const bool call = record.kind == Kind::CALL;
    libkineto::GenericTraceActivity made(span, type_of(record.kind), record.name);
    made.startTime = record.span.start_ns + shift_ns_;
    made.endTime = record.span.end_ns + shift_ns_;
    made.id = static_cast<int32_t>(record.number);
    made.device = call ? libkineto::processId() : record.device;
    made.resource = call ? record.thread : static_cast<int32_t>(record.stream);
    made.threadId = made.resource;
    if (launches) { // an arrow from the call to the work
      made.flow.id = static_cast<uint32_t>(record.number);
      made.flow.type = libkineto::kLinkAsyncCpuGpu;
      made.flow.start = call ? 1 : 0;
    }
    made.addMetadata("correlation", record.number);
    if (!call) {
      made.addMetadata("device", static_cast<int>(record.device));
      made.addMetadata("stream", record.stream);
    }
    return made;
  }

  int64_t shift_ns_ = 0;
  std::vector<Record> records_;
  std::set<std::pair<c10::DeviceIndex, c10::StreamId>> streams_;
};

class Profiler final : public libkineto::IActivityProfiler {
 public:
  const std::string& name() const override { return name_; }
  const std::set<ActivityType>& availableActivities() const override { return types_; }

  // No session where only the host is profiled.
  std::unique_ptr<libkineto::IActivityProfilerSession> configure(
      const std::set<ActivityType>& wanted, const libkineto::Config&) override {
    if (wanted.count(ActivityType::CONCURRENT_KERNEL) == 0) {
      return nullptr;
    }
    return std::make_unique<ProfilerSession>();
  }

  std::unique_ptr<libkineto::IActivityProfilerSession> configure(
      int64_t, int64_t, const std::set<ActivityType>& wanted, const libkineto::Config& config)
      override {
    return configure(wanted, config);
  }

 private:
  const std::string name_ = "sim";
  const std::set<ActivityType> types_ = {
      ActivityType::CONCURRENT_KERNEL,
      ActivityType::GPU_MEMCPY,
      ActivityType::PRIVATEUSE1_RUNTIME,
  };
};

inline void register_profiler() {
  torch::profiler::impl::PrivateUse1ProfilerRegistry::instance().registerFactory(
      [] { return std::make_unique<Profiler>(); });
}

} // namespace sim

#else

namespace sim {

inline void register_profiler() {}

} // namespace sim

#endif
