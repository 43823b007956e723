/// The order of calls that makes a power failure harmless: the data of a file is synced before it gets its final name,
/// that name before the record says so. For each file by itself: files share syncs and commits as they like.

#include <gmock/gmock.h>

#include <map>
#include <mutex>
#include <set>

#include "engine/journey.h"

namespace caiexport::engine {
namespace {

enum class What { written, synced, renamed, folderSynced, recorded };

struct Call {
  What what;
  std::filesystem::path path;
};

/// Notes each call when it is over, but for a rename, which is noted when it begins.
class TracingFileSystem final : public core::FileSystem {
 public:
  using core::FileSystem::open;
  std::unique_ptr<core::WritableFile> open(const std::filesystem::path& path, unsigned mode) override {
    return std::make_unique<File>(*this, path, disk_.open(path, mode));
  }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    note({What::renamed, to});
    disk_.rename(from, to);
  }
  void syncDirectory(const std::filesystem::path& path) override {
    disk_.syncDirectory(path);
    note({What::folderSynced, path});
  }
  void remove(const std::filesystem::path& path) override { disk_.remove(path); }
  void createDirectories(const std::filesystem::path& path) override { disk_.createDirectories(path); }
  std::optional<std::uint64_t> sizeOf(const std::filesystem::path& path) override { return disk_.sizeOf(path); }
  std::uint64_t freeBytes(const std::filesystem::path& directory) override { return disk_.freeBytes(directory); }

  void note(Call call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
  }
  std::vector<Call> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  /// Bytes of the file that a power failure would take now.
  std::vector<model::ByteRange> unsynced(const std::filesystem::path& path) const {
    const std::lock_guard lock(mutex_);
    const auto found = unsynced_.find(path);
    return found == unsynced_.end() ? std::vector<model::ByteRange>() : found->second;
  }

 private:
  class File final : public core::WritableFile {
   public:
    File(TracingFileSystem& owner, std::filesystem::path path, std::unique_ptr<core::WritableFile> file)
        : owner_(owner), path_(std::move(path)), file_(std::move(file)) {}

    void writeAt(std::uint64_t offset, std::span<const std::byte> data) override {
      {
        const std::lock_guard lock(owner_.mutex_);
        owner_.unsynced_[path_].push_back({offset, offset + data.size()});
      }
      file_->writeAt(offset, data);
      owner_.note({What::written, path_});
    }
    std::size_t readAt(std::uint64_t offset, std::span<std::byte> into) override { return file_->readAt(offset, into); }
    void resize(std::uint64_t bytes) override { file_->resize(bytes); }
    void sync() override {
      std::size_t before = 0;
      {
        const std::lock_guard lock(owner_.mutex_);
        before = owner_.unsynced_[path_].size();
      }
      file_->sync();
      {
        // What another thread has written meanwhile need not be on the device.
        const std::lock_guard lock(owner_.mutex_);
        std::vector<model::ByteRange>& ranges = owner_.unsynced_[path_];
        ranges.erase(ranges.begin(), ranges.begin() + static_cast<std::ptrdiff_t>(before));
      }
      owner_.note({What::synced, path_});
    }

   private:
    TracingFileSystem& owner_;
    std::filesystem::path path_;
    std::unique_ptr<core::WritableFile> file_;
  };

  core::FileSystem& disk_ = core::diskFileSystem();
  mutable std::mutex mutex_;
  std::vector<Call> calls_;
  std::map<std::filesystem::path, std::vector<model::ByteRange>> unsynced_;
};

constexpr std::uint64_t kFileBytes = 20'000;

class PowerLoss : public testing::TestWithParam<model::Kind> {
 protected:
  PowerLoss() {
    journey_.disk = trace_;
    // Files of several ranges, whose records come in between.
    journey_.download = {.connections = 2, .rangeBytes = 4000, .recordEveryBytes = 8000};
  }

  static std::filesystem::path partOf(const std::filesystem::path& target, const model::Job& job) {
    return transfer::partPathFor(target, transfer::partTagOf(job.uuid));
  }

  std::filesystem::path folderOf(const model::FileRecord& file, const model::Job& job) const {
    return job.request.output / job.datasetId.value() / file.remote.batchId.value();
  }

  /// Looks at the committed record through a connection of its own.
  void lookAtRecord(model::JobId id) {
    store::Database database(journey_.directory / "jobs.db", store::Database::Mode::readOnly);
    store::JobStore record(database, journey_.clock);
    const model::Job job = record.load(id);
    for (const model::FileRecord& file : record.files(id, 0, 1000, {})) {
      const std::filesystem::path target = folderOf(file, job) / file.path;
      const bool complete = file.state == model::FileState::downloaded || file.state == model::FileState::verified;
      if (complete && recorded_.insert(target).second) trace_.note({What::recorded, target});
      if (!complete && !file.done.empty()) expectOnDevice(file, partOf(target, job));
    }
  }

  void expectOnDevice(const model::FileRecord& file, const std::filesystem::path& part) {
    ++partialRecords_;
    for (const model::ByteRange& lost : trace_.unsynced(part)) {
      for (const model::ByteRange& done : file.done) {
        EXPECT_TRUE(lost.end <= done.first || done.end <= lost.first)
            << part << ": " << lost.first << "-" << lost.end << " is recorded and not on the device";
      }
    }
  }

  /// Runs the job; returns the files' final paths.
  model::Job run() {
    Journey::Process process(journey_);
    const model::Job job = process.runner.create(GetParam() == model::Kind::dataset ? journey_.datasetRequest()
                                                                                    : journey_.segmentRequest());
    process.onStoreCall = [&](std::string_view, bool committed) {
      if (committed) lookAtRecord(job.id);
    };
    const Outcome outcome = process.runner.advance(job.id, {}, {});
    EXPECT_FALSE(outcome.error) << outcome.error->what();
    return outcome.job;
  }

  TracingFileSystem trace_;
  Journey journey_{R"({"files": 5, "export_files": 5, "page_limit": 2})", kFileBytes};
  std::set<std::filesystem::path> recorded_;
  std::size_t partialRecords_ = 0;
};

/// Position of the first call of that kind after `from`; the number of calls if there is none.
std::size_t next(const std::vector<Call>& calls, std::size_t from, What what, const std::filesystem::path& path) {
  for (std::size_t at = from; at < calls.size(); ++at) {
    if (calls[at].what == what && calls[at].path == path) return at;
  }
  return calls.size();
}

std::size_t last(const std::vector<Call>& calls, What what, const std::filesystem::path& path) {
  std::size_t found = calls.size();
  for (std::size_t at = 0; at < calls.size(); ++at) {
    if (calls[at].what == what && calls[at].path == path) found = at;
  }
  return found;
}

TEST_P(PowerLoss, EachFileIsSyncedThenNamedThenSyncedInItsFolderThenRecorded) {
  const model::Job job = run();
  const std::vector<Call> calls = trace_.calls();
  ASSERT_EQ(recorded_.size(), 5U);
  EXPECT_GT(partialRecords_, 0U) << "no record came in between: the ranges were not looked at";
  for (const std::filesystem::path& target : recorded_) {
    SCOPED_TRACE(target);
    const std::filesystem::path part = partOf(target, job);
    const std::size_t written = last(calls, What::written, part);
    const std::size_t synced = next(calls, written, What::synced, part);
    const std::size_t named = next(calls, 0, What::renamed, target);
    const std::size_t folder = next(calls, named, What::folderSynced, target.parent_path());
    const std::size_t recorded = next(calls, 0, What::recorded, target);
    ASSERT_LT(recorded, calls.size());
    EXPECT_LT(written, synced);
    EXPECT_LT(synced, named);
    EXPECT_LT(named, folder);
    EXPECT_LT(folder, recorded);
  }
}

TEST_P(PowerLoss, TheManifestIsSyncedThenNamedThenSyncedInItsFolder) {
  const model::Job job = run();
  const std::vector<Call> calls = trace_.calls();
  const std::filesystem::path manifest =
      job.request.output / job.datasetId.value() / job.batches.front().id.value() / "_manifest.json";
  const std::size_t named = next(calls, 0, What::renamed, manifest);
  ASSERT_LT(named, calls.size());
  std::set<std::filesystem::path> parts;
  for (const Call& call : calls) {
    if (call.path.filename().string().starts_with("_manifest.json.")) parts.insert(call.path);
  }
  ASSERT_EQ(parts.size(), 1U);
  const std::size_t written = last(calls, What::written, *parts.begin());
  const std::size_t synced = next(calls, written, What::synced, *parts.begin());
  EXPECT_LT(written, synced);
  EXPECT_LT(synced, named);
  const std::size_t folder = next(calls, named, What::folderSynced, manifest.parent_path());
  const std::size_t marked = next(calls, 0, What::synced, manifest.parent_path() / "_SUCCESS");
  EXPECT_LT(folder, marked) << "said to be whole before its manifest was on the device";
  EXPECT_LT(next(calls, marked, What::folderSynced, manifest.parent_path()), calls.size());
}

INSTANTIATE_TEST_SUITE_P(BothPaths, PowerLoss, testing::Values(model::Kind::dataset, model::Kind::segment),
                         [](const auto& kind) { return kind.param == model::Kind::dataset ? "Dataset" : "Segment"; });

}  // namespace
}  // namespace caiexport::engine
