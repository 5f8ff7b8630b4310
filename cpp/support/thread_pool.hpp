// A bounded pool of threads that many callers share without ever running more threads than asked.
//
// One caller at a time uses the pool, first come first served: two launches side by side would only
// evict each other's weights from the caches. The caller works along, so a pool of N has N - 1
// threads of its own, and everything still finishes when none of them gets a processor in time.
//
// Each thread begins with a range of neighbouring items and takes them in order: what is next to
// each other in memory is read by one thread, which is what streams and their prefetchers need.
// Who is done steals the second half of what another has left.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "support/status.hpp"

namespace moe4j {

class ThreadPool {
 public:
  /** `num_threads` counts the calling thread and is positive. Fails if a thread cannot start. */
  static Status create(int32_t num_threads, std::unique_ptr<ThreadPool>* pool) noexcept;

  /** No lease may be held. */
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int32_t num_threads() const noexcept { return static_cast<int32_t>(workers_.size()) + 1; }

  /** The right to use the pool, held for one launch. Waits, asleep, for those who came before. */
  class Lease {
   public:
    explicit Lease(ThreadPool& pool) noexcept : pool_(pool) { pool_.acquire(); }
    ~Lease() { pool_.release(); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    /**
     * Calls body(i) once for each i in [0, count), in any order and on any thread of the pool, and
     * returns when all calls have. `body` must not throw. Allocates nothing.
     */
    template <class Body>
    void parallel_for(int64_t count, const Body& body) noexcept {
      if (count <= 1 || pool_.workers_.empty()) {
        for (int64_t i = 0; i < count; ++i) body(i);
        return;
      }
      for (int64_t first = 0; first < count; first += kMaxItems) {
        const int64_t rest = count - first;
        pool_.run({[](const void* context, int64_t i) { (*static_cast<const Body*>(context))(i); },
                   &body, first, static_cast<uint32_t>(rest < kMaxItems ? rest : kMaxItems)});
      }
    }

   private:
    friend class ThreadPool;
    struct Admitted {};
    Lease(ThreadPool& pool, Admitted) noexcept : pool_(pool) {}

    ThreadPool& pool_;
  };

  /**
   * Calls task(lease) once its turn has come, and returns when it is done. Who has finished a task
   * goes on with those that wait, on its own thread, so that the pool does not idle until another
   * caller has woken up. It does so for few of them, and none of a larger `size` than its own. So
   * `task` may run on any caller's thread; it must not throw.
   */
  template <class Task>
  void run_in_turn(int64_t size, const Task& task) noexcept {
    Waiter self;
    self.call = [](const void* body, Lease& lease) { (*static_cast<const Task*>(body))(lease); };
    self.task = &task;
    self.size = size;
    if (!await_turn(self)) return;
    Lease lease(*this, Lease::Admitted{});
    task(lease);
    serve_waiters(size, lease);
  }

 private:
  static constexpr int64_t kMaxItems = int64_t{1} << 31;

  struct Job {
    void (*call)(const void* body, int64_t item) = nullptr;
    const void* body = nullptr;
    int64_t first = 0;
    uint32_t count = 0;
  };

  /** A thread's range of items of the job, begin in the lower and end in the upper half. Its owner
   *  takes from the front, thieves from the back; every item is in one range until it is taken. */
  struct alignas(64) Range {
    std::atomic<uint64_t> packed{0};
  };

  /**
   * A caller in the queue; lives on its stack. It sleeps on a semaphore, which may be posted
   * without the queue's lock although it is gone as soon as its owner is awake: who wakes up finds
   * no lock that the waker still holds.
   */
  struct Waiter {
    Waiter() noexcept { sem_init(&turn, 0, 0); }
    ~Waiter() { sem_destroy(&turn); }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

    void sleep() noexcept {
      while (sem_wait(&turn) != 0) {  // interrupted by a signal
      }
    }
    void wake() noexcept { sem_post(&turn); }

    void (*call)(const void* task, Lease& lease) = nullptr;  // null if only its thread may go on
    const void* task = nullptr;
    int64_t size = 0;
    bool done = false;  // by another caller; otherwise, once awake, it is admitted
    Waiter* next = nullptr;
    sem_t turn;
  };

  ThreadPool() = default;

  void acquire() noexcept;
  bool await_turn(Waiter& self) noexcept;
  void serve_waiters(int64_t size, Lease& lease) noexcept;
  Waiter* pop_waiter() noexcept;
  void release() noexcept;
  void run(const Job& job) noexcept;
  void work(int32_t thread) noexcept;
  void take_items(int32_t thread) noexcept;
  bool take_item(int32_t thread, uint32_t* item) noexcept;
  bool steal_items(int32_t thread) noexcept;
  uint64_t await_job(uint64_t seen) noexcept;
  void await_idle() noexcept;

  // The queue of callers.
  std::mutex queue_mutex_;
  bool busy_ = false;
  Waiter* first_waiter_ = nullptr;
  Waiter* last_waiter_ = nullptr;

  // The job of the caller who holds the lease. A worker enters (active_), then looks whether the
  // generation that it was called for is still open; the caller closes it, then waits until nobody
  // is inside. Sequential consistency of the two pairs makes one of them see the other.
  Job job_;
  std::unique_ptr<Range[]> ranges_;  // [num_threads], the caller's first
  alignas(64) std::atomic<uint64_t> generation_{0};
  std::atomic<uint64_t> open_{0};  // the generation that may be entered, or 0
  alignas(64) std::atomic<int32_t> active_{0};

  // Where threads sleep that have waited in vain.
  std::mutex sleep_mutex_;
  std::condition_variable job_published_;
  std::condition_variable workers_idle_;
  std::atomic<int32_t> sleeping_workers_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stopping_{false};

  std::vector<std::thread> workers_;
};

}  // namespace moe4j
