// Settings, the host's clock, and the queues of work of the simulated devices.
//
// A device computes nothing: its values come from the CPU's kernels while the host launches them.
// Its time is a timeline: each stream knows when the work that it was given will be done, and who
// waits for it really waits until then.

#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>
#include <c10/util/Exception.h>

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace sim {

constexpr c10::DeviceIndex DEVICES = 2;
constexpr int64_t STREAMS = 32; // a pool, as CUDA has one: asking for more begins again
constexpr auto TYPE = c10::DeviceType::PrivateUse1;

// --- settings --------------------------------------------------------------------------------

// Names are those of the environment variables SIM_..., in small letters.
inline std::map<std::string, double>& settings() {
  static auto* all = new std::map<std::string, double>{
      {"launch_us", 5.0}, // host time of each launch
      {"kernel_us", 20.0}, // device time of each kernel
      {"kernel_ns_per_kib", 2000.0}, // and of each KiB that it is given or makes: 0.5 GB/s,
                                     // which the host's computing of it stays well below
      {"first_us", 0.0}, // host time, once for each operator: loading or tuning
      {"pageable_ns_per_kib", 200.0}, // copies between host and device: 5 GB/s
      {"pinned_ns_per_kib", 100.0}, // 10 GB/s
      {"memory_bytes", 2147483648.0}, // of each device
  };
  return *all;
}

inline std::string& faults() {
  static auto* all = new std::string();
  return *all;
}

// Whether SIM_FAULT, names with commas between, has this name.
inline bool fault(const std::string& name) {
  return ("," + faults() + ",").find("," + name + ",") != std::string::npos;
}

inline void read_environment() {
  for (auto& [name, value] : settings()) {
    std::string variable = "SIM_" + name;
    std::transform(variable.begin(), variable.end(), variable.begin(), ::toupper);
    if (const char* given = std::getenv(variable.c_str())) {
      value = std::strtod(given, nullptr);
    }
  }
  if (const char* given = std::getenv("SIM_FAULT")) {
    faults() = given;
  }
}

inline int64_t setting_ns(const char* name, double unit_ns) {
  return static_cast<int64_t>(settings().at(name) * unit_ns);
}

// --- the host's time -------------------------------------------------------------------------

inline int64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Sleeps through the most of a long wait and spins through its end: a sleep ends late.
inline void wait_until(int64_t until_ns) {
  constexpr int64_t LATE_NS = 2'000'000; // seen on a busy machine
  if (until_ns - now_ns() > 2 * LATE_NS) {
    const int64_t wake_ns = until_ns - LATE_NS;
    const timespec wake{wake_ns / 1'000'000'000, wake_ns % 1'000'000'000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr) != 0) {
    }
  }
  while (now_ns() < until_ns) {
  }
}

// --- the driver ------------------------------------------------------------------------------

// Initialised by the first use, and of no use in a process that was forked after that.
class Driver {
 public:
  static Driver& get() {
    static auto* driver = new Driver();
    return *driver;
  }

  void use(c10::DeviceIndex device) {
    TORCH_CHECK(
        !bad_fork_,
        "Cannot re-initialize sim in forked subprocess. Use the 'spawn' start method.");
    TORCH_CHECK(
        device >= 0 && device < DEVICES,
        "sim: invalid device ordinal ", static_cast<int>(device), "; there are ",
        static_cast<int>(DEVICES));
    initialised_ = true;
    opened_[device] = true;
  }

  bool initialised() const { return initialised_; }
  bool bad_fork() const { return bad_fork_; }
  bool opened(c10::DeviceIndex device) const {
    return device >= 0 && device < DEVICES && opened_[device];
  }

 private:
  Driver() {
    pthread_atfork(nullptr, nullptr, [] {
      Driver& driver = get();
      driver.bad_fork_ = driver.bad_fork_ || driver.initialised_;
      driver.initialised_ = false;
    });
  }

  std::atomic<bool> initialised_{false};
  std::atomic<bool> bad_fork_{false};
  std::array<std::atomic<bool>, DEVICES> opened_{};
};

// --- queues ----------------------------------------------------------------------------------

struct Span {
  int64_t start_ns;
  int64_t end_ns;
};

// When each stream will have done its work.  Streams of one device run beside each other.
class Timeline {
 public:
  static Timeline& get() {
    static auto* timeline = new Timeline();
    return *timeline;
  }

  // Give a stream work of so long; it begins when the stream is free.
  Span submit(const c10::Stream& stream, int64_t work_ns) {
    std::lock_guard<std::mutex> held(mutex_);
    int64_t& done_ns = of(stream);
    const int64_t start_ns = std::max(done_ns, now_ns());
    done_ns = start_ns + work_ns;
    kernels_ += 1;
    return {start_ns, done_ns};
  }

  // When the stream will have done all it has; now, where it has none.
  int64_t done_ns(const c10::Stream& stream) {
    std::lock_guard<std::mutex> held(mutex_);
    return std::max(of(stream), now_ns());
  }

  // The stream goes on no earlier than at this moment.
  void hold(const c10::Stream& stream, int64_t until_ns) {
    std::lock_guard<std::mutex> held(mutex_);
    of(stream) = std::max(of(stream), until_ns);
  }

  bool idle(const c10::Stream& stream) {
    std::lock_guard<std::mutex> held(mutex_);
    return of(stream) <= now_ns();
  }

  void wait(const c10::Stream& stream) { wait_until(done_ns(stream)); }

  void wait(c10::DeviceIndex device) {
    int64_t latest_ns = 0;
    {
      std::lock_guard<std::mutex> held(mutex_);
      for (const int64_t one : done_ns_.at(device)) {
        latest_ns = std::max(latest_ns, one);
      }
    }
    wait_until(latest_ns);
  }

  int64_t kernels() const { return kernels_; }

 private:
  int64_t& of(const c10::Stream& stream) {
    return done_ns_.at(stream.device_index()).at(stream.id());
  }

  std::mutex mutex_;
  std::array<std::array<int64_t, STREAMS>, DEVICES> done_ns_{};
  std::atomic<int64_t> kernels_{0};
};

// --- what is current in a thread ---------------------------------------------------------------

inline c10::DeviceIndex& current_device() {
  thread_local c10::DeviceIndex device = 0;
  return device;
}

inline std::array<c10::StreamId, DEVICES>& current_streams() {
  thread_local std::array<c10::StreamId, DEVICES> streams{};
  return streams;
}

inline c10::Stream stream_of(c10::DeviceIndex device) {
  const auto index = device < 0 ? current_device() : device;
  return c10::Stream(c10::Stream::UNSAFE, c10::Device(TYPE, index), current_streams().at(index));
}

} // namespace sim
