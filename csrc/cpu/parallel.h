// Teams of threads, which start here and nowhere else: an exception that leaves an OpenMP region ends the process. What
// a thread throws (memory may run out in any of them) is kept until all have ended, and thrown again in the caller.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <limits>

namespace salt {

// How many threads a call of `operations` multiply-adds in all is worth: waking a team costs about as much as a hundred
// thousand of them. At most what torch.set_num_threads allows; results never depend on it.
inline int threads_for(double operations) {
  constexpr double kWorthAThread = 2e5;
  const double wanted = 1 + operations / kWorthAThread;
  return static_cast<int>(std::min<double>(wanted, omp_get_max_threads()));
}

// work() once on each thread of a team. Throws what the first of them threw.
template <class Work>
void on_each_thread(int threads, const Work& work) {
  std::exception_ptr first;
  std::atomic_flag failed;
#pragma omp parallel num_threads(threads)
  {
    try {
      work();
    } catch (...) {
      if (!failed.test_and_set()) {
        first = std::current_exception();
      }
    }
  }
  if (first) {
    std::rethrow_exception(first);
  }
}

// The numbers 0 .. count - 1 for whichever thread asks next, `batch` of them at a time.
class Tasks {
 public:
  Tasks(int64_t count, int64_t batch) : count_(count), batch_(batch) {}

  // use(i) for the numbers that fall to the calling thread.
  template <class Use>
  void each(const Use& use) {
    for (int64_t begin = next_.fetch_add(batch_); begin < count_; begin = next_.fetch_add(batch_)) {
      const int64_t end = std::min(begin + batch_, count_);
      for (int64_t i = begin; i < end; ++i) {
        use(i);
      }
    }
  }

  // Nothing is left for anyone.
  void drop() { next_ = count_; }

 private:
  const int64_t count_;
  const int64_t batch_;
  std::atomic<int64_t> next_{0};
};

// work(tasks) on each thread of a team: it sets up what the thread needs and passes what is to be done to tasks.each.
// Where one fails, the others end after the number they are at.
template <class Work>
void share_tasks(int threads, int64_t count, int64_t batch, const Work& work) {
  Tasks tasks(count, batch);
  on_each_thread(threads, [&] {
    try {
      work(tasks);
    } catch (...) {
      tasks.drop();
      throw;
    }
  });
}

// use(i) for 0 .. count - 1, a run of neighbours for each thread: for work that is even and needs no memory of its own.
template <class Use>
void share_evenly(int threads, int64_t count, const Use& use) {
  on_each_thread(threads, [&] {
    const int64_t team = omp_get_num_threads();
    const int64_t me = omp_get_thread_num();
    const int64_t part = count / team;
    const int64_t longer = count % team;  // parts of one number more
    const int64_t begin = me * part + std::min(me, longer);
    const int64_t end = begin + part + (me < longer ? 1 : 0);
    for (int64_t i = begin; i < end; ++i) {
      use(i);
    }
  });
}

// The least of the numbers that threads tell; the largest int64 where there is none.
class Least {
 public:
  void tell(int64_t number) {
    int64_t known = value_.load();
    while (number < known && !value_.compare_exchange_weak(known, number)) {
    }
  }
  int64_t value() const { return value_.load(); }

 private:
  std::atomic<int64_t> value_{std::numeric_limits<int64_t>::max()};
};

}  // namespace salt
