#include "reading.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "caiexport/cli/options.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "cli/config/config.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;

/// What DuckDB is told to keep to: it does not count all that it takes.
std::uint64_t sharedBytes(std::uint64_t memoryBytes) {
  return memoryBytes / 8 * 5;
}

/// The program itself and DuckDB's code take some, however little is asked for.
std::uint64_t mostBytes(std::uint64_t memoryBytes) {
  constexpr std::uint64_t kOfTheProgram = 96U << 20U;
  return std::max(memoryBytes, core::residentBytes() + kOfTheProgram);
}

/// What people should know about the set is told.
InputSet told(InputSet set, Context& context) {
  for (const std::string& notice : set.notices) context.console.notice("caiexport: " + notice);
  return set;
}

InputSet findInput(const ParsedOptions& options, Configuration& configuration) {
  InputFinder finder(configuration, options.has("all-batches") ? Batches::all : Batches::newest);
  if (options.has("last") && !options.arguments().empty()) {
    throwUsage("--last and a job or path contradict each other");
  }
  return options.has("last") ? finder.findLast() : finder.find(options.arguments());
}

/// For a statement that nothing else ends. Nothing of the process is waited for: its threads are at work.
ReadWatch::GiveUp endOfProcess(const Context& context, const fs::path& scratch, bool json) {
  return [&out = context.out, scratch, json](const core::Error& error) {
    std::error_code ignored;
    if (!scratch.empty()) fs::remove_all(scratch, ignored);
    const std::string text = failureText(error);
    static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
    if (json && !out.used()) {
      const std::string document = failureDocument(error);
      static_cast<void>(!::write(STDOUT_FILENO, document.data(), document.size()));
    }
    ::_exit(core::exitCodeOf(error.category()));
  };
}

// What is written between two looks must still fit, so the work is stopped a little before all is taken.
constexpr std::chrono::milliseconds kMeasureEvery{5};
/// A signal is obeyed within 2 s.
constexpr std::chrono::milliseconds kForAnInterrupt{1500};
constexpr std::chrono::milliseconds kForTheMemory{500};

}  // namespace

Reading::Reading(const ParsedOptions& options, Context& context)
    : context_(context),
      configuration_(options, context.environment),
      memoryBytes_(bytesOption(options, "memory").value_or(reader::defaultMemoryBytes())),
      output_(options),
      input_(told(findInput(options, configuration_), context)),
      scratch_(output_),
      watch_(mostBytes(memoryBytes_), context.stop,
             endOfProcess(context, scratch_.path(), options.value("format").value_or("") == "json")) {
  refuseAsOutput(input_);
  run([this] {
    reader_ = reader::openReader({.memoryBytes = sharedBytes(memoryBytes_), .tempDirectory = scratch_.path()});
    profiles_ = reader_->open(input_.files);
  });
}

void Reading::refuseAsOutput(const InputSet& set) const {
  for (const reader::InputFile& file : set.files) output_.refuse(file.path);
  for (const fs::path& manifest : set.manifests) output_.refuse(manifest);
}

Reading::Pair Reading::openAgainst(const std::string& what) {
  Pair pair{.before = told(InputFinder(configuration_).findAgainst(what, input_), context_), .scores = {}};
  refuseAsOutput(pair.before);
  pair.scores = reader_->openPair(input_.files, pair.before.files);
  return pair;
}

std::vector<InputSet> Reading::earlier(std::size_t most) {
  return InputFinder(configuration_).findEarlier(input_, most);
}

void Reading::run(const std::function<void()>& work) {
  try {
    work();
  } catch (const core::Interrupted&) {
    if (!watch_.isMemoryUsedUp()) throw;
    throw watch_.memoryError();
  } catch (const std::bad_alloc&) {
    throw watch_.memoryError();
  }
}

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

ReadWatch::ReadWatch(std::uint64_t mostBytes, std::stop_token stop, GiveUp giveUp)
    : mostBytes_(mostBytes),
      stop_(std::move(stop)),
      giveUp_(std::move(giveUp)),
      thread_([this](const std::stop_token& ended) { watch(ended); }) {}

core::Error ReadWatch::memoryError() const {
  return {core::Category::io,
          "it needs more memory than it is allowed to use, " + core::formatBytes(mostBytes_),
          {.hint = "allow more with --memory, e.g. --memory 4G, or choose fewer columns or rows"}};
}

void ReadWatch::watch(const std::stop_token& ended) {
  core::Clock& clock = core::systemClock();
  std::optional<core::SteadyTime> stopped;
  // Not past the end of the work: what it waits for then is nothing of DuckDB's.
  while (clock.sleep(kMeasureEvery, ended)) {
    std::uint64_t bytes = 0;
    try {
      bytes = core::residentBytes();
    } catch (const std::bad_alloc&) {
      // Not even this much is to be had: what asks for more will hear so itself.
      continue;
    }
    if (!stopped && stop_.stop_requested()) {
      stopped = clock.steadyNow();
      work_.request_stop();
    } else if (!stopped && bytes > mostBytes_ - mostBytes_ / 16) {
      stopped = clock.steadyNow();
      usedUp_ = true;
      work_.request_stop();
    }
    if (!stopped) continue;
    const auto since = clock.steadyNow() - *stopped;
    const bool grows = bytes > mostBytes_ - mostBytes_ / 32;
    if (usedUp_ ? since > kForTheMemory || grows : since > kForAnInterrupt) {
      giveUp_(usedUp_ ? memoryError() : core::Interrupted());
    }
  }
}

}  // namespace caiexport::cli
