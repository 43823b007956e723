#pragma once
/// File descriptors: one with an owner, the loop that POSIX calls need, how many this process may have open, and one
/// that tells of a stop request.

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "caiexport/core/error.h"

namespace caiexport::core {

/// Closes its descriptor; -1 is none.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  // Never again after EINTR: on Linux the descriptor is gone then, and another thread may have it.
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }

  int number() const { return number_; }
  bool valid() const { return number_ >= 0; }
  /// Gives the descriptor away.
  int release() { return std::exchange(number_, -1); }

 private:
  int number_ = -1;
};

/// Repeats a call that a signal interrupted.
template <typename Call>
auto untilDone(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

/// The process, or the whole machine, has no descriptor left: with fewer files and connections at a time it may work.
/// Category `io`.
class TooFewDescriptors final : public Error {
 public:
  explicit TooFewDescriptors(const std::string& message)
      : Error(Category::io, message, {.hint = "lower --connections, or let the process open more files (ulimit -n)"}) {}
};

/// How many more this process may open; nothing where that is no concern.
std::optional<std::uint64_t> freeDescriptors();

/// Makes a stop request visible to poll(), through a pipe.
class StopSignal {
 public:
  explicit StopSignal(std::stop_token stop);
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// Throws core::Interrupted once a stop is requested.
  void check() const;
  const std::stop_token& token() const { return stop_; }
  /// Readable once a stop is requested; -1 if none can come.
  int descriptor() const { return ends_[0]; }

 private:
  struct Wake {
    int descriptor;
    void operator()() const;
  };

  std::stop_token stop_;
  std::array<int, 2> ends_{-1, -1};
  // Last, so that it is gone before the pipe closes: its destructor waits for a callback that is running.
  std::optional<std::stop_callback<Wake>> callback_;
};

}  // namespace caiexport::core
