#pragma once
/// What the threads of a connection need: handlers run on some of their own, and wake the one that waits for the
/// socket.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace caiexport::support::http2 {

/// Threads for the handlers of a connection, as many as there are requests at a time.
class Workers {
 public:
  using Task = std::function<void()>;

  Workers() = default;
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void run(Task task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (tasks_.size() > idle_) threads_.emplace_back([this] { work(); });
    changed_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      changed_.wait(lock, [&] { return !tasks_.empty() || ending_; });
      --idle_;
      if (ending_) return;
      const Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ending_ = false;
};

/// Ends a poll() of another thread.
class Waker {
 public:
  Waker() {
    if (::pipe(ends_.data()) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    for (const int end : ends_) ::fcntl(end, F_SETFL, O_NONBLOCK);
  }
  ~Waker() {
    for (const int end : ends_) ::close(end);
  }
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  int descriptor() const { return ends_[0]; }
  /// A full pipe wakes as well.
  void wake() const { [[maybe_unused]] const auto written = ::write(ends_[1], "w", 1); }
  void clear() const {
    std::array<char, 256> bytes{};
    while (::read(ends_[0], bytes.data(), bytes.size()) > 0) continue;
  }

 private:
  std::array<int, 2> ends_{};
};

}  // namespace caiexport::support::http2
