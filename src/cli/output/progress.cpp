#include "progress.h"

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/reader/table.h"

namespace caiexport::cli {
namespace {

constexpr core::Duration kRedrawEvery{250};
constexpr core::Duration kSayEvery = std::chrono::seconds(30);
/// How much of the shown rate is the newest measurement.
constexpr double kNewest = 0.15;

core::Duration since(core::SteadyTime from, core::SteadyTime to) {
  return std::chrono::duration_cast<core::Duration>(to - from);
}

std::string count(std::uint64_t number, const char* one, const char* many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
}

std::optional<unsigned> percentOf(const DownloadFigures& figures) {
  if (figures.totalBytes == 0) return std::nullopt;
  const double part = static_cast<double>(figures.bytes) / static_cast<double>(figures.totalBytes);
  return static_cast<unsigned>(std::min(part, 1.0) * 100);
}

std::string amount(const DownloadFigures& figures) {
  std::string text = core::formatBytes(figures.bytes);
  if (figures.totalBytes > 0) text += " of " + core::formatBytes(figures.totalBytes);
  return text;
}

std::string timeLeft(const DownloadFigures& figures) {
  if (figures.bytesPerSecond < 1 || figures.totalBytes <= figures.bytes) return {};
  const double seconds = static_cast<double>(figures.totalBytes - figures.bytes) / figures.bytesPerSecond;
  constexpr double kLongest = 1e8;
  if (seconds > kLongest) return {};
  return core::formatDuration(std::chrono::seconds(static_cast<std::int64_t>(seconds + 1))) + " left";
}

/// Rate, time and counts, as far as they are known.
std::vector<std::string> piecesOf(const DownloadFigures& figures) {
  std::vector<std::string> pieces;
  if (figures.bytesPerSecond >= 1) {
    pieces.push_back(core::formatBytes(static_cast<std::uint64_t>(figures.bytesPerSecond)) + "/s");
  }
  if (std::string left = timeLeft(figures); !left.empty()) pieces.push_back(std::move(left));
  pieces.push_back(std::to_string(figures.files) +
                   (figures.totalFiles > 0 ? " of " + std::to_string(figures.totalFiles) : "") +
                   (figures.totalFiles == 1 ? " file" : " files"));
  if (figures.connections > 0) pieces.push_back(count(figures.connections, "connection", "connections"));
  if (figures.retries > 0) pieces.push_back(count(figures.retries, "retry", "retries"));
  if (figures.failed > 0) pieces.push_back(std::to_string(figures.failed) + " failed");
  return pieces;
}

/// The pieces on as few lines as the width allows, each begun by a line end.
std::string packed(const std::vector<std::string>& pieces, std::size_t width) {
  std::string out;
  std::size_t used = 0;
  for (const std::string& piece : pieces) {
    const std::size_t needed = reader::displayWidth(piece);
    if (used > 0 && used + 2 + needed < width) {
      out.append(", ").append(piece);
      used += 2 + needed;
    } else {
      out.append("\n").append(piece);
      used = needed;
    }
  }
  return out;
}

std::string bar(unsigned percent, const BlockShape& shape) {
  constexpr std::size_t kMost = 60;
  constexpr std::size_t kForPercent = 7;  // "  100 %"
  constexpr std::size_t kLeast = 10;
  if (shape.width < kLeast + kForPercent + 1) return std::to_string(percent) + " %";
  const std::size_t cells = std::min(kMost, shape.width - 1 - kForPercent);
  const std::size_t full = cells * percent / 100;
  std::string out;
  for (std::size_t i = 0; i < cells; ++i) {
    if (shape.utf8) {
      out += i < full ? "█" : "░";
    } else {
      out += i < full ? '#' : '.';
    }
  }
  std::string number = std::to_string(percent);
  number.insert(0, 3 - number.size(), ' ');
  return out + "  " + number + " %";
}

}  // namespace

std::string downloadLine(const DownloadFigures& figures) {
  std::string line = amount(figures);
  if (const auto percent = percentOf(figures)) line += " (" + std::to_string(*percent) + " %)";
  for (const std::string& piece : piecesOf(figures)) line += ", " + piece;
  return line;
}

std::string downloadBlock(std::string_view heading, const DownloadFigures& figures, const BlockShape& shape) {
  std::string block(heading);
  if (const auto percent = percentOf(figures)) block += "\n" + bar(*percent, shape);
  std::vector<std::string> pieces = piecesOf(figures);
  pieces.insert(pieces.begin(), amount(figures));
  return block + packed(pieces, shape.width);
}

std::string waitBlock(std::string_view heading, const WaitFigures& figures, const BlockShape& shape) {
  std::vector<std::string> pieces;
  if (!figures.status.empty()) pieces.push_back(core::printable(figures.status, 60));
  pieces.push_back(core::formatDuration(figures.elapsed) + " so far");
  pieces.push_back(figures.nextIn > core::Duration::zero() ? "asked again in " + core::formatDuration(figures.nextIn)
                                                           : "asking now");
  return std::string(heading) + packed(pieces, shape.width);
}

std::string waitLine(const WaitFigures& figures) {
  std::string line = figures.status.empty() ? "" : core::printable(figures.status, 60) + ", ";
  line += core::formatDuration(figures.elapsed);
  if (figures.nextIn > core::Duration::zero()) line += ", asked again in " + core::formatDuration(figures.nextIn);
  return line;
}

std::string_view describe(model::StepName step) {
  switch (step) {
    case model::StepName::evaluateSegment:
      return "evaluating the segment";
    case model::StepName::createDataset:
      return "creating the dataset";
    case model::StepName::startExport:
      return "starting the export";
    case model::StepName::awaitExport:
      return "waiting for the export";
    case model::StepName::selectBatches:
      return "finding batches";
    case model::StepName::listFiles:
      return "listing files";
    case model::StepName::downloadFiles:
      return "downloading";
    case model::StepName::verifyFiles:
      return "verifying";
    case model::StepName::deliverFiles:
      return "delivering the files";
    case model::StepName::deleteDataset:
      return "deleting the dataset";
  }
  return "working";
}

Progress::Progress(Console& console, core::Clock& clock) : console_(console), clock_(clock) {
  if (console_.level() != Console::Level::quiet) {
    try {
      thread_ = std::jthread([this](const std::stop_token& ended) { redraw(ended); });
    } catch (const std::system_error&) {
      // Figures are not worth a run: what happens is said all the same.
    }
  }
}

Progress::~Progress() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
  console_.live({});
}

void Progress::finish() {
  const std::lock_guard lock(mutex_);
  phase_ = Phase::idle;
  step_.clear();
  console_.live({});
}

void Progress::redraw(const std::stop_token& ended) {
  while (!ended.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      ended_.wait_for(lock, ended, kRedrawEvery, [] { return false; });
    }
    try {
      if (!ended.stop_requested()) tick();
    } catch (const std::bad_alloc&) {
      // The next look may find more memory; this thread must not end the run.
    }
  }
}

/// One look at the figures: redraws, or says a line if the last one is long ago.
void Progress::tick() {
  const std::lock_guard lock(mutex_);
  if (step_.empty()) return;
  const core::SteadyTime now = clock_.steadyNow();
  updateRate(now);
  if (!console_.canRedraw()) {
    if (phase_ == Phase::idle || since(saidAt_, now) < kSayEvery) return;
    saidAt_ = now;
  }
  say();
}

/// With the mutex held, so that no line appears after finish().
void Progress::say() {
  if (console_.level() == Console::Level::quiet) return;
  if (console_.canRedraw()) {
    console_.live(currentBlock());
  } else {
    console_.notice(currentLine());
  }
}

void Progress::updateRate(core::SteadyTime now) {
  if (phase_ != Phase::downloading) return;
  const double seconds = std::chrono::duration<double>(now - lastAt_).count();
  if (seconds < 0.05) return;
  const std::uint64_t bytes = download_->bytes;
  const double rate = static_cast<double>(bytes - lastBytes_) / seconds;
  rate_ = rate_ == 0 ? rate : rate_ + kNewest * (rate - rate_);
  lastBytes_ = bytes;
  lastAt_ = now;
}

DownloadFigures Progress::figures() const {
  return {.bytes = download_->bytes + download_->bytesKept,
          .totalBytes = std::max<std::uint64_t>(totalBytes_, download_->totalBytes),
          .bytesPerSecond = rate_,
          .files = download_->filesCompleted,
          .totalFiles = std::max<std::uint64_t>(totalFiles_, download_->totalFiles),
          .connections = download_->connections,
          .retries = download_->retries,
          .failed = download_->filesFailed};
}

WaitFigures Progress::waitFigures() const {
  WaitFigures wait = wait_;
  const core::Duration passed = since(waitShownAt_, clock_.steadyNow());
  wait.elapsed += passed;
  wait.nextIn = std::max(wait.nextIn - passed, core::Duration::zero());
  return wait;
}

std::string Progress::currentLine() const {
  std::string head = job_ + ": " + step_;
  switch (phase_) {
    case Phase::idle:
      return head;
    case Phase::waiting:
      return head + ": " + waitLine(waitFigures());
    case Phase::downloading:
      return head + ": " + downloadLine(figures());
  }
  return head;
}

std::string Progress::currentBlock() const {
  std::string head = job_ + ": " + step_;
  const BlockShape shape{.width = console_.width(), .utf8 = console_.utf8()};
  switch (phase_) {
    case Phase::idle: {
      constexpr core::Duration kLong = std::chrono::seconds(3);
      const core::Duration passed = since(stepStartedAt_, clock_.steadyNow());
      return passed < kLong ? head : head + ", " + core::formatDuration(passed) + " so far";
    }
    case Phase::waiting:
      return waitBlock(head, waitFigures(), shape);
    case Phase::downloading:
      return downloadBlock(head, figures(), shape);
  }
  return head;
}

std::optional<Arrived> Progress::takeArrived() {
  const std::lock_guard lock(mutex_);
  const Arrived arrived = std::exchange(arrived_, {});
  return arrived.bytes > 0 ? std::optional(arrived) : std::nullopt;
}

void Progress::stepStarted(const model::Job& job, model::StepName step) {
  const std::lock_guard lock(mutex_);
  // Of a download that began while files were still being listed, the figures go on.
  phase_ = download_ == nullptr ? Phase::idle : Phase::downloading;
  job_ = "job " + std::to_string(model::numberOf(job.id));
  step_ = describe(step);
  saidStatus_.clear();
  saidAt_ = clock_.steadyNow();
  stepStartedAt_ = saidAt_;
  say();
}

void Progress::notice(std::string_view text) {
  console_.notice("caiexport: " + core::printable(text));
}

void Progress::waiting(model::StepName step, std::string_view remoteStatus, core::Duration elapsed,
                       core::Duration nextIn) {
  const std::lock_guard lock(mutex_);
  phase_ = Phase::waiting;
  step_ = describe(step);
  wait_ = {.status = std::string(remoteStatus), .elapsed = elapsed, .nextIn = nextIn};
  waitShownAt_ = clock_.steadyNow();
  const bool news = saidStatus_ != remoteStatus;
  saidStatus_ = remoteStatus;
  if (!console_.canRedraw()) {
    if (!news) return;
    saidAt_ = waitShownAt_;
  }
  say();
}

void Progress::downloadStarted(const model::Job& job, const transfer::DownloadProgress& progress) {
  const std::lock_guard lock(mutex_);
  phase_ = Phase::downloading;
  step_ = describe(model::StepName::downloadFiles);
  download_ = &progress;
  totalBytes_ = job.totalBytes;
  totalFiles_ = job.fileCount;
  lastBytes_ = 0;
  rate_ = 0;
  lastAt_ = clock_.steadyNow();
  downloadStartedAt_ = lastAt_;
}

void Progress::downloadEnded() {
  const std::lock_guard lock(mutex_);
  arrived_.bytes += download_->bytes;
  arrived_.time += since(downloadStartedAt_, clock_.steadyNow());
  phase_ = Phase::idle;
  download_ = nullptr;
}

}  // namespace caiexport::cli
