#pragma once
/// Notices that another process asked to cancel the running job.

#include <filesystem>
#include <stop_token>
#include <thread>

#include "caiexport/model/ids.h"

namespace caiexport::core {
class Clock;
class Log;
}  // namespace caiexport::core

namespace caiexport::cli {

/// While it lives, a thread with a connection of its own looks once a second and requests a stop on `run`.
class CancelWatch {
 public:
  CancelWatch(std::filesystem::path database, model::JobId job, std::stop_source run, core::Clock& clock,
              core::Log& log);

 private:
  std::jthread thread_;
};

}  // namespace caiexport::cli
