#include "support/thread_pool.hpp"

#include <chrono>
#include <system_error>

#include "support/message.hpp"

namespace moe4j {
namespace {

// Long enough to bridge the gap between the phases of a launch and between the layers of a model,
// short enough to leave the processor to others when nothing comes.
constexpr std::chrono::microseconds kSpinTime{50};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

constexpr uint64_t pack(uint32_t begin, uint32_t end) {
  return static_cast<uint64_t>(end) << 32 | begin;
}
constexpr uint32_t begin_of(uint64_t range) { return static_cast<uint32_t>(range); }
constexpr uint32_t end_of(uint64_t range) { return static_cast<uint32_t>(range >> 32); }

/** Polls `done` for kSpinTime at most; whether it came true. */
template <class Condition>
bool spin_until(const Condition& done) {
  constexpr int kPollsPerClockRead = 32;
  const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPollsPerClockRead; ++i) {
      if (done()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

}  // namespace

Status ThreadPool::create(int32_t num_threads, std::unique_ptr<ThreadPool>* pool) noexcept {
  try {
    std::unique_ptr<ThreadPool> created(new ThreadPool);
    created->ranges_ = std::make_unique<Range[]>(static_cast<size_t>(num_threads));
    created->workers_.reserve(static_cast<size_t>(num_threads - 1));
    for (int32_t i = 1; i < num_threads; ++i) {
      created->workers_.emplace_back([raw = created.get(), i] { raw->work(i); });
    }
    *pool = std::move(created);
    return Status::ok();
  } catch (const std::system_error& error) {
    return failure(MOE4J_DEVICE_ERROR, "num_threads: cannot start %d threads: %s", num_threads,
                   error.what());
  } catch (const std::bad_alloc&) {
    return Status(MOE4J_OUT_OF_MEMORY, {});
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  generation_.fetch_add(1);
  {
    const std::lock_guard<std::mutex> lock(sleep_mutex_);
    job_published_.notify_all();
  }
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::acquire() noexcept {
  Waiter self;
  await_turn(self);
}

/** Whether the pool is this caller's; otherwise another one has done its task. */
bool ThreadPool::await_turn(Waiter& self) noexcept {
  {
    const std::lock_guard<std::mutex> lock(queue_mutex_);
    if (!busy_) {
      busy_ = true;
      return true;
    }
    (last_waiter_ == nullptr ? first_waiter_ : last_waiter_->next) = &self;
    last_waiter_ = &self;
  }
  self.sleep();
  return !self.done;
}

ThreadPool::Waiter* ThreadPool::pop_waiter() noexcept {
  Waiter* first = first_waiter_;
  first_waiter_ = first->next;
  if (first_waiter_ == nullptr) last_waiter_ = nullptr;
  return first;
}

void ThreadPool::serve_waiters(int64_t size, Lease& lease) noexcept {
  constexpr int kMostServed = 8;
  for (int served = 0; served < kMostServed; ++served) {
    Waiter* next;
    {
      const std::lock_guard<std::mutex> lock(queue_mutex_);
      const Waiter* first = first_waiter_;
      if (first == nullptr || first->call == nullptr || first->size > size) return;
      next = pop_waiter();
    }
    next->call(next->task, lease);
    next->done = true;
    next->wake();
  }
}

void ThreadPool::release() noexcept {
  Waiter* next;
  {
    const std::lock_guard<std::mutex> lock(queue_mutex_);
    if (first_waiter_ == nullptr) {
      busy_ = false;
      return;
    }
    next = pop_waiter();  // the pool stays busy: it changes hands
  }
  next->wake();
}

void ThreadPool::run(const Job& job) noexcept {
  job_ = job;
  const auto threads = static_cast<uint64_t>(num_threads());
  for (uint64_t i = 0; i < threads; ++i) {
    ranges_[i].packed.store(pack(static_cast<uint32_t>(job.count * i / threads),
                                 static_cast<uint32_t>(job.count * (i + 1) / threads)),
                            std::memory_order_relaxed);
  }
  const uint64_t generation = generation_.load(std::memory_order_relaxed) + 1;
  open_.store(generation);
  generation_.store(generation);
  if (sleeping_workers_.load() > 0) {
    const std::lock_guard<std::mutex> lock(sleep_mutex_);
    job_published_.notify_all();
  }
  take_items(0);
  open_.store(0);
  await_idle();
}

void ThreadPool::take_items(int32_t thread) noexcept {
  const Job job = job_;
  do {
    uint32_t item;
    while (take_item(thread, &item)) job.call(job.body, job.first + item);
  } while (steal_items(thread));
}

/** Takes the first item of the thread's own range. */
bool ThreadPool::take_item(int32_t thread, uint32_t* item) noexcept {
  std::atomic<uint64_t>& own = ranges_[static_cast<size_t>(thread)].packed;
  uint64_t range = own.load(std::memory_order_relaxed);
  do {
    if (begin_of(range) == end_of(range)) return false;
    *item = begin_of(range);
  } while (
      !own.compare_exchange_weak(range, pack(*item + 1, end_of(range)), std::memory_order_relaxed));
  return true;
}

/** Makes the second half of another thread's range the thread's own; false if all are empty. */
bool ThreadPool::steal_items(int32_t thread) noexcept {
  const int32_t threads = num_threads();
  for (int32_t i = 1; i < threads; ++i) {
    std::atomic<uint64_t>& other = ranges_[static_cast<size_t>((thread + i) % threads)].packed;
    uint64_t range = other.load(std::memory_order_relaxed);
    while (begin_of(range) != end_of(range)) {
      const uint32_t middle = begin_of(range) + (end_of(range) - begin_of(range)) / 2;
      if (!other.compare_exchange_weak(range, pack(begin_of(range), middle),
                                       std::memory_order_relaxed)) {
        continue;
      }
      ranges_[static_cast<size_t>(thread)].packed.store(pack(middle, end_of(range)),
                                                        std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

void ThreadPool::work(int32_t thread) noexcept {
  uint64_t seen = 0;
  for (;;) {
    seen = await_job(seen);
    if (stopping_.load()) return;
    active_.fetch_add(1);
    if (open_.load() == seen) take_items(thread);
    if (active_.fetch_sub(1) == 1 && caller_sleeps_.load()) {
      const std::lock_guard<std::mutex> lock(sleep_mutex_);
      workers_idle_.notify_one();
    }
  }
}

/** Waits until there is another generation than `seen`, and answers it. */
uint64_t ThreadPool::await_job(uint64_t seen) noexcept {
  if (!spin_until([&] { return generation_.load() != seen; })) {
    std::unique_lock<std::mutex> lock(sleep_mutex_);
    sleeping_workers_.fetch_add(1);
    job_published_.wait(lock, [&] { return generation_.load() != seen; });
    sleeping_workers_.fetch_sub(1);
  }
  return generation_.load();
}

/** Waits until no worker is inside a job that has been closed. */
void ThreadPool::await_idle() noexcept {
  if (spin_until([&] { return active_.load() == 0; })) return;
  std::unique_lock<std::mutex> lock(sleep_mutex_);
  caller_sleeps_.store(true);
  workers_idle_.wait(lock, [&] { return active_.load() == 0; });
  caller_sleeps_.store(false);
}

}  // namespace moe4j
