#include "caiexport/core/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace caiexport::core {
namespace {

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
    if (::pipe2(ends.data(), O_CLOEXEC) == 0) return ends;
    const std::string message = std::string("cannot make a pipe: ") + std::strerror(errno);
    if (errno == EMFILE || errno == ENFILE) throw TooFewDescriptors(message);
    throw Error(Category::io, message);
  }

  /// Only an empty one.
  void giveBack(const PipeEnds& ends) { closePipe(std::exchange(ends_, ends)); }

 private:
  static constexpr PipeEnds kNone{-1, -1};
  PipeEnds ends_ = kNone;
};

thread_local SparePipe sparePipe;

}  // namespace

std::optional<std::uint64_t> freeDescriptors() {
  // More than any run needs, and too many to be looked at one by one.
  constexpr rlim_t kPlenty = 4096;
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > kPlenty) return std::nullopt;
  std::uint64_t left = 0;
  for (int descriptor = 0; descriptor < static_cast<int>(limit.rlim_cur); ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) < 0) ++left;
  }
  return left;
}

StopSignal::StopSignal(std::stop_token stop) : stop_(std::move(stop)) {
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
  if (stop_.stop_requested()) throw Interrupted();
}

void StopSignal::Wake::operator()() const {
  // One byte into an empty pipe neither blocks nor fails.
  [[maybe_unused]] const auto written = ::write(descriptor, "", 1);
}

}  // namespace caiexport::core
