#pragma once
/// What a run is doing, for people.

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "caiexport/core/clock.h"
#include "caiexport/engine/runner.h"
#include "job_output.h"

namespace caiexport::cli {

class Console;

/// A moment of a download.
struct DownloadFigures {
  std::uint64_t bytes = 0;  ///< On disk now, by earlier runs too.
  std::uint64_t totalBytes = 0;
  double bytesPerSecond = 0;
  std::uint64_t files = 0;
  std::uint64_t totalFiles = 0;
  unsigned connections = 0;
  std::uint64_t retries = 0;
  std::uint64_t failed = 0;
};

/// `48.0 MB of 120 MB (40 %), 12.3 MB/s, 6 s left, 3 of 9 files, 8 connections`, as far as it is known.
std::string downloadLine(const DownloadFigures& figures);

struct WaitFigures {
  std::string status;
  core::Duration elapsed{};
  core::Duration nextIn{};
};

std::string waitLine(const WaitFigures& figures);

/// What a live block has room for.
struct BlockShape {
  std::size_t width = 80;  ///< Of the terminal.
  bool utf8 = true;
};

/// The same below a heading, in several lines: a bar, and the figures on as many lines as they need.
std::string downloadBlock(std::string_view heading, const DownloadFigures& figures, const BlockShape& shape);
std::string waitBlock(std::string_view heading, const WaitFigures& figures, const BlockShape& shape);

/// What a step does, e.g. `listing files`.
std::string_view describe(model::StepName step);

/// On a terminal one block that is redrawn four times a second, elsewhere plain lines at step changes and every 30
/// seconds; with --quiet nothing.
class Progress final : public engine::RunObserver {
 public:
  Progress(Console& console, core::Clock& clock);
  ~Progress() override;

  void stepStarted(const model::Job& job, model::StepName step) override;
  void notice(std::string_view text) override;
  void waiting(model::StepName step, std::string_view remoteStatus, core::Duration elapsed,
               core::Duration nextIn) override;
  void downloadStarted(const model::Job& job, const transfer::DownloadProgress& progress) override;
  void downloadEnded() override;
  /// Removes the live block.
  void finish();
  /// What arrived since the last call; nothing if nothing did.
  std::optional<Arrived> takeArrived();

 private:
  enum class Phase { idle, waiting, downloading };

  void tick();
  void updateRate(core::SteadyTime now);
  DownloadFigures figures() const;
  std::string currentLine() const;
  std::string currentBlock() const;
  WaitFigures waitFigures() const;
  void say();
  void redraw(const std::stop_token& ended);

  Console& console_;
  core::Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable_any ended_;
  Phase phase_ = Phase::idle;
  std::string job_;
  std::string step_;
  WaitFigures wait_;
  core::SteadyTime waitShownAt_{};
  core::SteadyTime stepStartedAt_{};
  core::SteadyTime downloadStartedAt_{};
  Arrived arrived_;
  const transfer::DownloadProgress* download_ = nullptr;
  std::uint64_t totalBytes_ = 0;
  std::uint64_t totalFiles_ = 0;
  std::uint64_t lastBytes_ = 0;
  core::SteadyTime lastAt_{};
  double rate_ = 0;
  core::SteadyTime saidAt_{};
  std::string saidStatus_;
  std::jthread thread_;
};

}  // namespace caiexport::cli
