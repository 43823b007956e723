#include "stop_limit.h"

#include <unistd.h>

#include <chrono>
#include <string_view>
#include <utility>

#include "caiexport/core/error.h"

namespace caiexport::cli {

StopLimit::StopLimit(std::stop_token stop) : stop_(std::move(stop)), thread_([this] { watch(); }) {}

StopLimit::~StopLimit() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StopLimit::watch() {
  constexpr std::chrono::milliseconds kGrace{1500};
  std::unique_lock lock(mutex_);
  if (changed_.wait(lock, stop_, [this] { return ended_; })) return;
  if (changed_.wait_for(lock, kGrace, [this] { return ended_; })) return;
  constexpr std::string_view kLast = "caiexport: interrupted\n";
  static_cast<void>(!::write(2, kLast.data(), kLast.size()));
  ::_exit(core::exitCodeOf(core::Category::interrupted));
}

}  // namespace caiexport::cli
