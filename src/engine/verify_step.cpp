/// Holds what is on disk against what was promised: sizes, Parquet footers, row counts.

#include <algorithm>
#include <map>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/store/job_store.h"
#include "guards.h"
#include "latest.h"
#include "manifest_writer.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::FileRecord;
using model::VerifyLevel;

/// Rows counted in the files of one batch; nothing as soon as one of them could not be counted.
using Rows = std::optional<std::uint64_t>;

class Verification {
 public:
  explicit Verification(StepContext& context) : context_(context) {
    for (const model::Batch& batch : context.job.batches) rows_[batch.id] = 0;
  }

  void checkAllFiles() {
    constexpr std::size_t kPage = 256;
    for (std::int64_t last = 0;;) {
      const std::vector<FileRecord> page = context_.tools.store.files(context_.job.id, last, kPage, {});
      if (page.empty()) return;
      last = page.back().id;
      checkPage(page);
    }
  }

  struct Mismatch {
    std::string who = {};
    std::uint64_t promised = 0;
    std::uint64_t counted = 0;
  };

  /// The first promise that the counted rows don't keep.
  std::optional<Mismatch> mismatch() const {
    Rows all = 0;
    for (const model::Batch& batch : context_.job.batches) {
      const Rows counted = rows_.at(batch.id);
      all = all && counted ? Rows(*all + *counted) : std::nullopt;
      if (counted && batch.records && *counted != *batch.records) {
        return Mismatch{.who = "batch " + batch.id.value(), .promised = *batch.records, .counted = *counted};
      }
    }
    const std::optional<std::uint64_t> reported = context_.job.reportedProfiles;
    if (!all || !reported || *all == *reported) return std::nullopt;
    return Mismatch{.who = "export job " + context_.job.exportJobId.value(), .promised = *reported, .counted = *all};
  }

  /// What the job's `records` is: counted if possible, else what the platform said.
  Rows total() const {
    Rows counted = 0;
    Rows promised = 0;
    for (const model::Batch& batch : context_.job.batches) {
      const Rows rows = rows_.at(batch.id);
      counted = counted && rows ? Rows(*counted + *rows) : std::nullopt;
      promised = promised && batch.records ? Rows(*promised + *batch.records) : std::nullopt;
    }
    if (counted) return counted;
    return context_.job.reportedProfiles ? context_.job.reportedProfiles : promised;
  }

  /// What the guards look at: the newest batch of a dataset, all of an export.
  void guard() const {
    const auto newest = std::ranges::max_element(context_.job.batches, {}, &model::Batch::created);
    if (context_.job.request.kind == model::Kind::segment || newest == context_.job.batches.end()) {
      requireExpectedRecords(context_, "the export of segment " + context_.job.request.sourceId, total());
      return;
    }
    const Rows counted = rows_.at(newest->id);
    requireExpectedRecords(context_, "batch " + newest->id.value(), counted ? counted : newest->records);
  }

 private:
  void checkPage(const std::vector<FileRecord>& page) {
    std::vector<store::JobStore::Verified> verified;
    for (const FileRecord& file : page) {
      if (context_.stop.stop_requested()) {
        context_.tools.store.recordVerified(verified);
        throw core::Interrupted();
      }
      const Rows rows = checkFile(file);
      Rows& sum = rows_[file.remote.batchId];
      sum = sum && rows ? Rows(*sum + *rows) : std::nullopt;
      verified.push_back({.file = file.id, .records = rows});
    }
    context_.tools.store.recordVerified(verified);
  }

  Rows checkFile(const FileRecord& file) {
    const std::filesystem::path path = folderOf(context_.job, file.remote.batchId) / file.path;
    const std::optional<std::uint64_t> size = context_.tools.files.sizeOf(path);
    if (!size) throwWrong(file, "'" + path.string() + "' is gone");
    if (*size != file.remote.lengthBytes) {
      throwWrong(file, "'" + path.string() + "' has " + std::to_string(*size) + " bytes, not " +
                           std::to_string(file.remote.lengthBytes));
    }
    if (context_.job.request.verify == VerifyLevel::size || !file.path.ends_with(".parquet")) return std::nullopt;
    // Found good by an earlier try of this step.
    if (file.state == model::FileState::verified && file.records) return file.records;
    try {
      const auto depth = context_.job.request.verify == VerifyLevel::full ? reader::Depth::full : reader::Depth::footer;
      return reader().inspect(path, depth, context_.stop).rows;
    } catch (const Error& error) {
      if (error.category() == Category::verification) throwWrong(file, error.what());
      throw;
    }
  }

  reader::ParquetReader& reader() {
    if (!reader_) reader_ = context_.tools.openReader();
    return *reader_;
  }

  [[noreturn]] void throwWrong(const FileRecord& file, const std::string& what) {
    context_.tools.store.recordFileFailed(file.id);
    throw Error(Category::verification, what,
                {.hint = "the files stay where they are; caiexport resume " +
                         std::to_string(model::numberOf(context_.job.id)) + " fetches this one again"});
  }

  StepContext& context_;
  std::map<model::BatchId, Rows> rows_;
  std::unique_ptr<reader::ParquetReader> reader_;
};

bool hasFailedFile(StepContext& context) {
  constexpr model::FileState kFailed[] = {model::FileState::failed};
  return !context.tools.store.files(context.job.id, 0, 1, kFailed).empty();
}

[[noreturn]] void throwMismatch(const StepContext& context, const Verification::Mismatch& mismatch) {
  throw Error(
      Category::verification,
      mismatch.who + " was promised with " + std::to_string(mismatch.promised) + " records, but its files hold " +
          std::to_string(mismatch.counted),
      {.hint = "the files stay where they are; caiexport resume " + std::to_string(model::numberOf(context.job.id)) +
               " lists them again; if it stays so, export again and tell Adobe's support"});
}

/// The number of records.
Rows verified(StepContext& context) {
  Verification verification(context);
  verification.checkAllFiles();
  const auto mismatch = verification.mismatch();
  if (!mismatch) {
    // Before the manifest: a batch that is not accepted is no part of its dataset's folder, nor the latest one.
    verification.guard();
    return verification.total();
  }
  if (context.run.listedHere) throwMismatch(context, *mismatch);
  // An earlier run's list may have lacked files: lists can change between two pages.
  fetchMissing(context);
  return verified(context);
}

}  // namespace

Turn verifyFiles(StepContext& context) {
  holdFolders(context);
  // What an earlier try found wrong is fetched again first.
  if (hasFailedFile(context)) fetchMissing(context);
  const Rows records = verified(context);
  for (const model::Batch& batch : context.job.batches) {
    writeManifest(context.job, batch, context.tools.store, context.tools.files);
  }
  switchLatest(context.job.request.output / context.job.datasetId.value(), context.tools.files,
               [&](std::string_view text) { context.tools.observer.notice(text); });
  context.tools.store.finishStep(context.job.id, context.step.name, {.records = records});
  return {};
}

}  // namespace caiexport::engine
