#pragma once
/// A whole run without sockets: the real runner, client, downloader and job store over a simulated platform, with a
/// counter of everything that touches the outside, at any of which the "process" can die.

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "caiexport/core/file_lock.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/engine/runner.h"
#include "caiexport/platform/auth.h"
#include "caiexport/platform/client.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/store/database.h"
#include "caiexport/store/job_store.h"
#include "simulator/content.h"
#include "simulator/world.h"
#include "support/fake_clock.h"
#include "support/fixed_random.h"
#include "support/recording_file_system.h"
#include "support/temp_directory.h"
#include "support/world_transport.h"

namespace caiexport::engine {

inline constexpr const char* kScoreDataset = "5f0000000000000000000001";
inline constexpr const char* kSegment = "7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a";

/// Path below the folder, and content, of all its files but our own.
inline std::map<std::string, std::string> contentOf(const std::filesystem::path& folder) {
  std::map<std::string, std::string> content;
  if (!std::filesystem::exists(folder)) return content;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || model::isOwnName(entry.path().filename().string())) continue;
    std::ostringstream bytes;
    bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    content[std::filesystem::relative(entry.path(), folder).string()] = bytes.str();
  }
  return content;
}

/// Whatever is said to be a whole batch, anywhere below, is one. Returns how many are.
inline int expectWholeWhereMarked(const std::filesystem::path& folder) {
  int marked = 0;
  if (!std::filesystem::exists(folder)) return marked;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().filename() != kSuccessName || !std::filesystem::exists(entry.path().parent_path() / kManifestName))
      continue;
    ++marked;
    const Manifest manifest = readManifest(entry.path().parent_path());
    EXPECT_FALSE(manifest.files.empty()) << entry.path();
    for (const ManifestFile& file : manifest.files) {
      EXPECT_EQ(core::diskFileSystem().sizeOf(manifest.folder / file.path), file.bytes) << entry.path();
    }
    EXPECT_FALSE(isAside(manifest.folder)) << entry.path();
  }
  return marked;
}

/// How many files there have their final name.
inline std::uint64_t wholeFilesIn(const std::filesystem::path& folder) {
  return static_cast<std::uint64_t>(
      std::ranges::count_if(contentOf(folder), [](const auto& file) { return file.first.ends_with(".parquet"); }));
}

/// Remembers what a run said.
class RememberingObserver final : public RunObserver {
 public:
  void stepStarted(const model::Job&, model::StepName step) override { steps.emplace_back(model::nameOf(step)); }
  void notice(std::string_view text) override { notices.emplace_back(text); }
  void waiting(model::StepName, std::string_view status, core::Duration, core::Duration nextIn) override {
    if (onWaiting) onWaiting();
    statuses.emplace_back(status);
    waits.push_back(nextIn);
  }

  std::vector<std::string> steps;
  std::vector<std::string> notices;
  std::vector<std::string> statuses;
  std::vector<core::Duration> waits;
  std::function<void()> onWaiting = {};
};

/// Counts calls to the outside; the n-th one, and every one after it, is a crash.
class CrashPoint {
 public:
  explicit CrashPoint(std::size_t at) : at_(at) {}
  void pass() {
    const std::size_t now = ++passed_;
    if (at_ != 0 && now >= at_) throw support::SimulatedCrash();
  }
  std::size_t passed() const { return passed_; }

 private:
  std::size_t at_;
  std::atomic<std::size_t> passed_ = 0;
};

/// Every change to a file passes the crash point before and after it.
class CrashingFileSystem final : public core::FileSystem {
 private:
  template <class Call>
  auto around(Call call) {
    crash_.pass();
    auto result = call();
    crash_.pass();
    return result;
  }

 public:
  CrashingFileSystem(CrashPoint& crash, core::FileSystem& disk) : crash_(crash), disk_(disk) {}

  using core::FileSystem::open;
  std::unique_ptr<core::WritableFile> open(const std::filesystem::path& path, unsigned mode) override {
    return around([&] { return std::make_unique<File>(crash_, disk_.open(path, mode)); });
  }
  std::unique_ptr<core::WritableFile> create(const std::filesystem::path& path) override {
    return around([&]() -> std::unique_ptr<core::WritableFile> {
      std::unique_ptr<core::WritableFile> file = disk_.create(path);
      if (!file) return nullptr;
      return std::make_unique<File>(crash_, std::move(file));
    });
  }
  bool renameNew(const std::filesystem::path& from, const std::filesystem::path& to) override {
    return around([&] { return disk_.renameNew(from, to); });
  }
  std::optional<core::FileIdentity> identityOf(const std::filesystem::path& path) override {
    return disk_.identityOf(path);
  }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    around([&] {
      disk_.rename(from, to);
      return 0;
    });
  }
  void syncDirectory(const std::filesystem::path& path) override {
    around([&] {
      disk_.syncDirectory(path);
      return 0;
    });
  }
  void remove(const std::filesystem::path& path) override {
    around([&] {
      disk_.remove(path);
      return 0;
    });
  }
  void createDirectories(const std::filesystem::path& path) override {
    around([&] {
      disk_.createDirectories(path);
      return 0;
    });
  }
  bool createLink(const std::filesystem::path& target, const std::filesystem::path& path) override {
    return around([&] { return disk_.createLink(target, path); });
  }
  bool removeEmptyDirectory(const std::filesystem::path& path) override {
    return around([&] { return disk_.removeEmptyDirectory(path); });
  }
  std::optional<std::uint64_t> sizeOf(const std::filesystem::path& path) override { return disk_.sizeOf(path); }
  std::uint64_t freeBytes(const std::filesystem::path& path) override { return disk_.freeBytes(path); }

 private:
  class File final : public core::WritableFile {
   public:
    File(CrashPoint& crash, std::unique_ptr<core::WritableFile> file) : crash_(crash), file_(std::move(file)) {}
    void writeAt(std::uint64_t offset, std::span<const std::byte> data) override {
      crash_.pass();
      file_->writeAt(offset, data);
      crash_.pass();
    }
    std::size_t readAt(std::uint64_t offset, std::span<std::byte> into) override { return file_->readAt(offset, into); }
    void resize(std::uint64_t bytes) override {
      crash_.pass();
      file_->resize(bytes);
      crash_.pass();
    }
    void sync() override {
      crash_.pass();
      file_->sync();
      crash_.pass();
    }

   private:
    CrashPoint& crash_;
    std::unique_ptr<core::WritableFile> file_;
  };

  CrashPoint& crash_;
  core::FileSystem& disk_;
};

/// Says of every file what the test wants.
class FakeReader final : public reader::ParquetReader {
 public:
  using RowsOf = std::function<std::uint64_t(const std::filesystem::path& file)>;
  using OnInspect = std::function<void(const std::filesystem::path& file, reader::Depth)>;
  explicit FakeReader(RowsOf rowsOf, OnInspect onInspect = {})
      : rowsOf_(std::move(rowsOf)), onInspect_(std::move(onInspect)) {}
  using reader::ParquetReader::inspect;
  reader::FileFacts inspect(const std::filesystem::path& file, reader::Depth depth, std::stop_token) override {
    if (onInspect_) onInspect_(file, depth);
    return {.rows = rowsOf_(file)};
  }
  std::unique_ptr<reader::Profiles> open(std::vector<reader::InputFile>) override { return nullptr; }
  std::unique_ptr<reader::ScorePair> openPair(std::vector<reader::InputFile>, std::vector<reader::InputFile>) override {
    return nullptr;
  }

 private:
  RowsOf rowsOf_;
  OnInspect onInspect_;
};

/// The platform, the disk and the clock: what outlives a crash.
class Journey {
 public:
  explicit Journey(const std::string& scenarioJson = "{}", std::uint64_t fileBytes = 5000)
      : source_(fileBytes), world_(scenarioOf(scenarioJson), source_, clock) {}

  model::ExportRequest datasetRequest() const { return requestFor(model::Kind::dataset, kScoreDataset); }
  model::ExportRequest segmentRequest() const { return requestFor(model::Kind::segment, kSegment); }

  /// One life of a process: everything that a crash takes with it.
  class Process {
   public:
    explicit Process(Journey& journey, std::size_t crashAt = 0)
        : crash(crashAt),
          database(journey.directory / "jobs.db", store::Database::Mode::readWrite),
          store(database, journey.clock,
                [this](std::string_view call, bool committed) {
                  crash.pass();
                  if (onStoreCall) onStoreCall(call, committed);
                }),
          locks(journey.directory / "jobs.db.lock"),
          files(crash, journey.disk),
          transport(journey.world_,
                    [this, &journey](const std::string& call) {
                      crash.pass();
                      if (journey.onRequest) journey.onRequest(call);
                    }),
          tokens(core::Secret("sim-access-token")),
          client({.baseUrl = "https://platform.test",
                  .apiKey = "sim-client",
                  .orgId = "SIMULATOR@AdobeOrg",
                  .sandbox = journey.sandbox,
                  .listedTogether = journey.listedTogether},
                 transport, tokens, journey.clock, journey.random, core::nullLog()),
          tools{.store = store,
                .jobLocks = locks,
                .client = client,
                .files = files,
                .clock = journey.clock,
                .random = journey.random,
                .log = core::nullLog(),
                .observer = observer,
                .openReader = [&journey] { return std::make_unique<FakeReader>(journey.rowsOf, journey.onInspect); },
                .download = journey.download},
          runner(tools) {}

    /// Called before and after each transaction; see store::JobStore.
    store::JobStore::Probe onStoreCall;
    CrashPoint crash;
    store::Database database;
    store::JobStore store;
    core::LockTable locks;
    CrashingFileSystem files;
    support::WorldTransport transport;
    platform::FixedTokenSource tokens;
    platform::Client client;
    RememberingObserver observer;
    Tools tools;
    Runner runner;
  };

  simulator::World& world() { return world_; }

  support::TempDirectory directory;
  support::FakeClock clock;
  support::FixedRandom random;
  std::reference_wrapper<core::FileSystem> disk = core::diskFileSystem();
  std::string sandbox = "prod";
  std::uint64_t rowsPerFile = 0;
  FakeReader::OnInspect onInspect = {};
  FakeReader::RowsOf rowsOf = [this](const std::filesystem::path&) { return rowsPerFile; };
  std::size_t listedTogether = 100;
  /// Told of each request, "before METHOD TARGET" and "after METHOD TARGET", on the thread that sends it.
  std::function<void(const std::string& call)> onRequest;
  transfer::DownloadSettings download = {.connections = 2};

 private:
  model::ExportRequest requestFor(model::Kind kind, const char* id) const {
    model::ExportRequest request{.kind = kind,
                                 .sourceId = id,
                                 .orgId = "SIMULATOR@AdobeOrg",
                                 .sandbox = sandbox,
                                 .baseUrl = "https://platform.test",
                                 .output = directory / "out"};
    request.verify = model::VerifyLevel::size;
    return request;
  }

  static simulator::Scenario scenarioOf(const std::string& json) {
    simulator::Scenario scenario;
    simulator::applyScenario(scenario, json);
    return scenario;
  }

  simulator::PatternSource source_;
  simulator::World world_;
};

/// Of the newest job: that are whole by the record.
inline std::uint64_t recordedFilesOf(Journey& journey) {
  Journey::Process process(journey);
  const std::optional<model::JobId> job = process.store.newestJob();
  return job ? process.store.fetched(*job).files : 0;
}

}  // namespace caiexport::engine
