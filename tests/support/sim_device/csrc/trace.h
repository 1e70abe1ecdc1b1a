// What the device did and what the host called, kept while a profiler asks for it.
//
// This is the part that the maker's own tracing library plays (CUPTI, PTI, ...); profiler.h gives
// its records to torch.

#pragma once

#include "timeline.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace sim {

enum class Kind { CALL, KERNEL, COPY };

struct Record {
  Kind kind;
  std::string name;
  Span span; // of now_ns()
  int64_t number; // a call of the host has the same one as the work that it launched
  uint64_t op; // torch's number of the operator that was running in the thread; 0: none
  c10::DeviceIndex device; // of work
  c10::StreamId stream; // of work
  int32_t thread; // of a call
};

class Trace {
 public:
  static Trace& get() {
    static auto* trace = new Trace();
    return *trace;
  }

  void begin() {
    std::lock_guard<std::mutex> held(mutex_);
    records_.clear();
    sessions_ += 1;
    wanted_ = true;
  }

  void stop() { wanted_ = false; }

  std::vector<Record> taken() {
    std::lock_guard<std::mutex> held(mutex_);
    return std::exchange(records_, {});
  }

  int64_t next() { return ++numbers_; }

  void called(const char* name, int64_t number, int64_t began_ns) {
    if (wanted_) {
      const auto thread = static_cast<int32_t>(syscall(SYS_gettid));
      keep({Kind::CALL, name, {began_ns, now_ns()}, number, op(), 0, 0, thread});
    }
  }

  void worked(
      Kind kind, const std::string& name, int64_t number, const c10::Stream& on, const Span& span) {
    if (wanted_) {
      keep({kind, name, span, number, op(), on.device_index(), on.id(), 0});
    }
  }

  // The operators that run in this thread, as torch tells of them.
  void push(uint64_t op) { ops().push_back(op); }
  void pop() {
    if (!ops().empty()) {
      ops().pop_back();
    }
  }

 private:
  uint64_t op() { return ops().empty() ? 0 : ops().back(); }

  // A session may end inside an operator, of whose end nobody is told.
  std::vector<uint64_t>& ops() {
    thread_local std::vector<uint64_t> all;
    thread_local int64_t session = 0;
    if (session != sessions_) {
      all.clear();
      session = sessions_;
    }
    return all;
  }

  void keep(Record record) {
    std::lock_guard<std::mutex> held(mutex_);
    records_.push_back(std::move(record));
  }

  std::mutex mutex_;
  std::vector<Record> records_;
  std::atomic<bool> wanted_{false};
  std::atomic<int64_t> sessions_{0};
  std::atomic<int64_t> numbers_{0};
};

// A call of the host into the driver, from its making to its end.
class Call {
 public:
  explicit Call(const char* name) : name_(name) {}
  ~Call() { Trace::get().called(name_, number, began_ns); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const int64_t number = Trace::get().next();
  const int64_t began_ns = now_ns();

 private:
  const char* name_;
};

} // namespace sim
