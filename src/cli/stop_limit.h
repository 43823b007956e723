#pragma once
/// The end of commands that only look, whatever stands in the way.

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>

namespace caiexport::cli {

/// Ends the process with exit code 130 if this still exists a second and a half after a stop was asked for: a function
/// of SQL that runs for minutes asks nobody, and a pipe that nobody empties is waited for in the kernel. Only where
/// nothing is lost by it.
class StopLimit {
 public:
  explicit StopLimit(std::stop_token stop);
  ~StopLimit();
  StopLimit(const StopLimit&) = delete;
  StopLimit& operator=(const StopLimit&) = delete;

 private:
  void watch();

  std::stop_token stop_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace caiexport::cli
