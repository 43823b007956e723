#include "poco_transport_wait.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"

namespace caiexport::net {
namespace {

int pollTimeout(core::SteadyTime until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, std::numeric_limits<int>::max()));
}

[[noreturn]] void throwSystemError(const char* what) {
  const std::string message = std::string("cannot ") + what + ": " + std::strerror(errno);
  if (errno == EMFILE || errno == ENFILE) throw core::TooFewDescriptors(message);
  throw core::Error(core::Category::io, message);
}

using PipeEnds = std::array<int, 2>;

void closePipe(const PipeEnds& ends) {
  for (const int end : ends) {
    if (end >= 0) ::close(end);
  }
}

/// Making and closing a pipe takes five system calls, and a thread sends one request after the other: it keeps its
/// pipe.
class SparePipe {
 public:
  SparePipe() = default;
  ~SparePipe() { closePipe(ends_); }
  SparePipe(const SparePipe&) = delete;
  SparePipe& operator=(const SparePipe&) = delete;

  PipeEnds take() {
    PipeEnds ends = std::exchange(ends_, kNone);
    if (ends != kNone) return ends;
    if (::pipe(ends.data()) != 0) throwSystemError("make a pipe");
    for (const int end : ends) ::fcntl(end, F_SETFD, FD_CLOEXEC);
    return ends;
  }

  /// Only an empty one.
  void giveBack(const PipeEnds& ends) { closePipe(std::exchange(ends_, ends)); }

 private:
  static constexpr PipeEnds kNone{-1, -1};
  PipeEnds ends_ = kNone;
};

thread_local SparePipe sparePipe;

}  // namespace

StopSignal::StopSignal(std::stop_token stop) : stop_(std::move(stop)) {
  check();
  if (!stop_.stop_possible()) return;
  ends_ = sparePipe.take();
  callback_.emplace(stop_, Wake{ends_[1]});
}

StopSignal::~StopSignal() {
  if (!callback_) return;
  callback_.reset();
  if (stop_.stop_requested()) {
    closePipe(ends_);
  } else {
    sparePipe.giveBack(ends_);
  }
}

void StopSignal::check() const {
  if (stop_.stop_requested()) throw core::Interrupted();
}

void StopSignal::Wake::operator()() const {
  // One byte into an empty pipe neither blocks nor fails.
  [[maybe_unused]] const auto written = ::write(descriptor, "", 1);
}

bool waitFor(int descriptor, short events, core::SteadyTime until, const StopSignal& stop) {
  while (true) {
    std::array<pollfd, 2> polled{pollfd{descriptor, events, 0}, pollfd{stop.descriptor(), POLLIN, 0}};
    const int ready = ::poll(polled.data(), polled.size(), pollTimeout(until));
    stop.check();
    if (ready < 0 && errno != EINTR) throwSystemError("wait for the network");
    if (ready > 0 && polled[0].revents != 0) return true;
    if (ready == 0 && std::chrono::steady_clock::now() >= until) return false;
  }
}

}  // namespace caiexport::net
