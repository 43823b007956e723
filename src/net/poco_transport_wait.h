#pragma once
/// Waiting for a descriptor with a deadline of our own and an open ear for a stop request.

#include <array>
#include <optional>
#include <stop_token>

#include "caiexport/core/clock.h"

namespace caiexport::net {

/// Makes a stop request visible to poll() through a pipe. Lives as long as one send().
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

/// Waits until the descriptor is ready for `events` (those of poll()). False when `until` passes first.
/// core::Interrupted after a stop request.
bool waitFor(int descriptor, short events, core::SteadyTime until, const StopSignal& stop);

}  // namespace caiexport::net
