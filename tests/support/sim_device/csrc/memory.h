// Memory of the simulated devices and pinned memory of the host: both are the process's own.

#pragma once

#include "trace.h"

#include <ATen/core/CachingHostAllocator.h>
#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <cstring>
#include <unordered_map>

namespace sim {

constexpr size_t BLOCK_BYTES = 512; // sizes are rounded up to it

inline void* from_system(size_t bytes) {
  void* found = std::aligned_alloc(BLOCK_BYTES, bytes);
  TORCH_CHECK(found != nullptr, "sim: the host has no ", bytes, " bytes of memory left");
  return found;
}

// Keeps what was freed, by size, and counts.
class Cache {
 public:
  static Cache& get() {
    static auto* cache = new Cache();
    return *cache;
  }

  c10::DataPtr allocate(size_t asked) {
    const c10::DeviceIndex index = current_device();
    const c10::Device device(TYPE, index);
    Driver::get().use(index);
    if (asked == 0) {
      return {nullptr, nullptr, &Cache::release, device};
    }
    const size_t bytes = (asked + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    std::lock_guard<std::mutex> held(mutex_);
    void* memory = cached(index, bytes);
    if (memory == nullptr) {
      memory = fresh(index, bytes);
    }
    auto& stats = stats_.at(index);
    change(stats.allocation, 1);
    change(stats.allocated_bytes, bytes);
    change(stats.active_bytes, bytes);
    change(stats.requested_bytes, asked);
    blocks_.at(memory).used = bytes;
    blocks_.at(memory).asked = asked;
    c10::reportMemoryUsageToProfiler(
        memory,
        static_cast<int64_t>(bytes),
        stats.allocated_bytes[0].current,
        stats.reserved_bytes[0].current,
        device);
    return {memory, memory, &Cache::release, device};
  }

  void empty() {
    std::lock_guard<std::mutex> held(mutex_);
    for (c10::DeviceIndex index = 0; index < DEVICES; ++index) {
      give_back(index);
    }
  }

  c10::CachingDeviceAllocator::DeviceStats& stats(c10::DeviceIndex index) {
    return stats_.at(index < 0 ? current_device() : index);
  }

  static size_t limit_bytes() { return static_cast<size_t>(settings().at("memory_bytes")); }

 private:
  struct Block {
    c10::DeviceIndex device;
    size_t bytes; // from the system
    size_t used; // given out
    size_t asked;
  };

  static void change(c10::CachingAllocator::StatArray& stat, size_t more) {
    stat[0].increase(more);
  }

  // A block that was freed and fits without much waste, or null.
  void* cached(c10::DeviceIndex index, size_t bytes) {
    auto& freed = freed_.at(index);
    const auto found = freed.lower_bound(bytes);
    if (found == freed.end() || found->first > bytes + bytes / 4) {
      return nullptr;
    }
    void* memory = found->second;
    freed.erase(found);
    return memory;
  }

  void* fresh(c10::DeviceIndex index, size_t bytes) {
    auto& stats = stats_.at(index);
    auto& reserved = stats.reserved_bytes;
    if (static_cast<size_t>(reserved[0].current) + bytes > limit_bytes()) {
      stats.num_alloc_retries += 1;
      give_back(index);
    }
    if (static_cast<size_t>(reserved[0].current) + bytes > limit_bytes()) {
      stats.num_ooms += 1;
      TORCH_CHECK_WITH(
          OutOfMemoryError,
          false,
          "sim out of memory. Tried to allocate ", bytes, " bytes on device ",
          static_cast<int>(index), " which has ", limit_bytes(), " bytes, of which ",
          reserved[0].current, " are in use.");
    }
    void* memory = from_system(bytes);
    blocks_[memory] = Block{index, bytes, 0, 0};
    change(reserved, bytes);
    stats.num_device_alloc += 1;
    return memory;
  }

  void give_back(c10::DeviceIndex index) {
    auto& freed = freed_.at(index);
    auto& stats = stats_.at(index);
    for (const auto& [bytes, memory] : freed) {
      blocks_.erase(memory);
      std::free(memory);
      stats.reserved_bytes[0].decrease(bytes);
      stats.num_device_free += 1;
    }
    freed.clear();
  }

  static void release(void* memory) {
    if (memory == nullptr) {
      return;
    }
    Cache& cache = get();
    std::lock_guard<std::mutex> held(cache.mutex_);
    Block& block = cache.blocks_.at(memory);
    auto& stats = cache.stats_.at(block.device);
    stats.allocation[0].decrease(1);
    stats.allocated_bytes[0].decrease(block.used);
    stats.active_bytes[0].decrease(block.used);
    stats.requested_bytes[0].decrease(block.asked);
    c10::reportMemoryUsageToProfiler(
        memory,
        -static_cast<int64_t>(block.used),
        stats.allocated_bytes[0].current,
        stats.reserved_bytes[0].current,
        c10::Device(TYPE, block.device));
    cache.freed_.at(block.device).emplace(block.bytes, memory);
  }

  std::mutex mutex_;
  std::unordered_map<void*, Block> blocks_;
  std::array<std::multimap<size_t, void*>, DEVICES> freed_;
  std::array<c10::CachingDeviceAllocator::DeviceStats, DEVICES> stats_{};
};

struct DeviceMemory final : public c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override { return Cache::get().allocate(bytes); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
  bool initialized() override { return Driver::get().initialised(); }
  void emptyCache(c10::MempoolId_t) override { Cache::get().empty(); }
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex index) override {
    return fault("zero_counters") ? c10::CachingDeviceAllocator::DeviceStats{}
                                  : Cache::get().stats(index);
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex index) override {
    auto& stats = Cache::get().stats(index);
    for (auto* one :
         {&stats.allocation, &stats.allocated_bytes, &stats.active_bytes, &stats.requested_bytes,
          &stats.reserved_bytes}) {
      (*one)[0].reset_peak();
    }
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex index) override {
    const size_t all = Cache::limit_bytes();
    return {all - Cache::get().stats(index).reserved_bytes[0].current, all};
  }
};

// What a backend has that came before torch.accelerator's functions for memory.
struct UncountedMemory final : public c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override { return Cache::get().allocate(bytes); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

struct PinnedMemory final : public at::HostAllocator {
  static PinnedMemory& get() {
    static auto* memory = new PinnedMemory();
    return *memory;
  }

  c10::DataPtr allocate(size_t bytes) override {
    Driver::get().use(current_device());
    if (bytes == 0) {
      return {nullptr, nullptr, &PinnedMemory::release, c10::Device(c10::DeviceType::CPU)};
    }
    void* memory = from_system((bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES);
    std::lock_guard<std::mutex> held(mutex_);
    ends_[memory] = static_cast<char*>(memory) + bytes;
    return {memory, memory, &PinnedMemory::release, c10::Device(c10::DeviceType::CPU)};
  }
  bool has(const void* address) {
    std::lock_guard<std::mutex> held(mutex_);
    auto after = ends_.upper_bound(const_cast<void*>(address));
    return after != ends_.begin() && address < (--after)->second;
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
  bool record_event(void*, void*, c10::Stream) override { return true; }
  void empty_cache() override {}
  at::HostStats get_stats() override { return {}; }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}

 private:
  static void release(void* memory) {
    std::lock_guard<std::mutex> held(get().mutex_);
    get().ends_.erase(memory);
    std::free(memory);
  }

  std::mutex mutex_;
  std::map<void*, const char*> ends_;
};

} // namespace sim
