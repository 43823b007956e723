/// Holds what is on disk against what was promised: sizes, Parquet footers, row counts.

#include <algorithm>
#include <map>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/reader/tables.h"
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

using Rows = std::optional<std::uint64_t>;
using reader::Content;

/// Files that are no part of the count, for people: the first few by name.
struct LeftOut {
  static constexpr std::size_t kNamed = 3;
  std::uint64_t count = 0;
  std::vector<std::string> names = {};

  void add(const std::string& name) {
    if (++count <= kNamed) names.push_back(core::printable(name, 80));
  }
  std::string text() const {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return count > names.size() ? text + ", ..." : text;
  }
};

/// What was found in the files of one batch. What the platform promised is no part of it.
struct Count {
  std::uint64_t rows = 0;
  std::uint64_t tables = 0;  ///< Whose rows were counted.
  LeftOut uncounted = {};    ///< That may hold rows, but are no tables, or were not to be opened.
  LeftOut uncommitted = {};

  /// Nothing where no file could be counted, though there are some.
  Rows counted() const { return tables == 0 && uncounted.count > 0 ? Rows() : Rows(rows); }
};

class Verification {
 public:
  explicit Verification(StepContext& context) : context_(context) {
    for (const model::Batch& batch : context.job.batches) counts_[batch.id] = {};
  }

  void checkAllFiles() {
    // Which parts were committed is known only once all markers have been seen.
    forEachPage([this](const std::vector<FileRecord>& page) {
      for (const FileRecord& file : page) tables_.note(pathOf(file));
    });
    forEachPage([this](const std::vector<FileRecord>& page) { checkPage(page); });
    for (const auto& [batch, count] : counts_) tellLeftOut(batch, count);
  }

  struct Mismatch {
    std::string who = {};
    std::uint64_t promised = 0;
    std::uint64_t counted = 0;
    std::string uncounted = {};
  };

  /// The first promise that the counted rows don't keep.
  std::optional<Mismatch> mismatch() const {
    for (const model::Batch& batch : context_.job.batches) {
      const Count& count = counts_.at(batch.id);
      const Rows counted = count.counted();
      if (counted && batch.records && *counted != *batch.records) {
        return Mismatch{.who = "batch " + batch.id.value(),
                        .promised = *batch.records,
                        .counted = *counted,
                        .uncounted = count.uncounted.text()};
      }
    }
    const Rows all = total();
    const std::optional<std::uint64_t> reported = context_.job.reportedProfiles;
    if (!all || !reported || *all == *reported) return std::nullopt;
    return Mismatch{.who = "export job " + context_.job.exportJobId.value(), .promised = *reported, .counted = *all};
  }

  /// What the job's `records` is: counted, or nothing.
  Rows total() const {
    Rows all = 0;
    for (const model::Batch& batch : context_.job.batches) {
      const Rows counted = counts_.at(batch.id).counted();
      all = all && counted ? Rows(*all + *counted) : std::nullopt;
    }
    return all;
  }

  /// What the guards look at: the newest batch of a dataset, all of an export.
  void guard() const {
    const auto newest = std::ranges::max_element(context_.job.batches, {}, &model::Batch::created);
    if (context_.job.request.kind == model::Kind::segment || newest == context_.job.batches.end()) {
      requireExpectedRecords(context_, "the export of segment " + context_.job.request.sourceId, total());
      return;
    }
    requireExpectedRecords(context_, "batch " + newest->id.value(), counts_.at(newest->id).counted());
  }

 private:
  template <class Take>
  void forEachPage(const Take& take) {
    constexpr std::size_t kPage = 256;
    for (std::int64_t last = 0;;) {
      const std::vector<FileRecord> page = context_.tools.store.files(context_.job.id, last, kPage, {});
      if (page.empty()) return;
      last = page.back().id;
      take(page);
    }
  }

  std::filesystem::path pathOf(const FileRecord& file) const {
    return folderOf(context_.job, file.remote.batchId) / file.path;
  }

  /// Guards look at what was counted, so with them everything is.
  bool counts() const {
    const model::Guards& guards = context_.job.request.guards;
    return context_.job.request.verify != VerifyLevel::size || guards.minRecords || guards.maxChangePercent;
  }

  void tellLeftOut(const model::BatchId& batch, const Count& count) {
    const auto tell = [&](const LeftOut& files, const std::string& why) {
      if (files.count == 0) return;
      const std::string text = "batch " + batch.value() + ": " + std::to_string(files.count) +
                               (files.count == 1 ? " file " : " files ") + why + ": " + files.text();
      context_.tools.observer.notice(text);
      context_.tools.store.addEvent(context_.job.id, context_.step.name, "files_not_counted", text);
    };
    if (counts()) tell(count.uncounted, "can't be counted, being no Parquet");
    tell(count.uncommitted, "not counted, since the batch's commit markers do not name them");
  }

  void checkPage(const std::vector<FileRecord>& page) {
    std::vector<store::JobStore::Verified> verified;
    for (const FileRecord& file : page) {
      if (context_.stop.stop_requested()) {
        context_.tools.store.recordVerified(verified);
        throw core::Interrupted();
      }
      const Rows rows = checkFile(file);
      verified.push_back({.file = file.id, .records = rows});
    }
    context_.tools.store.recordVerified(verified);
  }

  Rows checkFile(const FileRecord& file) {
    const std::filesystem::path path = pathOf(file);
    const std::optional<std::uint64_t> size = context_.tools.files.sizeOf(path);
    if (!size) throwWrong(file, "'" + path.string() + "' is gone");
    if (*size != file.remote.lengthBytes) {
      throwWrong(file, "'" + path.string() + "' has " + std::to_string(*size) + " bytes, not " +
                           std::to_string(file.remote.lengthBytes));
    }
    Count& count = counts_[file.remote.batchId];
    switch (tables_.contentOf(path)) {
      case Content::marker:
        return std::nullopt;
      case Content::uncommitted:
        count.uncommitted.add(file.path);
        return std::nullopt;
      case Content::other:
        count.uncounted.add(file.path);
        return std::nullopt;
      case Content::table:
        break;
    }
    if (!counts()) {
      count.uncounted.add(file.path);
      return std::nullopt;
    }
    const std::uint64_t rows = rowsOf(file, path);
    count.rows += rows;
    ++count.tables;
    return rows;
  }

  std::uint64_t rowsOf(const FileRecord& file, const std::filesystem::path& path) {
    // Found good by an earlier try of this step.
    if (file.state == model::FileState::verified && file.records) return *file.records;
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
  std::map<model::BatchId, Count> counts_;
  reader::TableFinder tables_;
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
          std::to_string(mismatch.counted) +
          (mismatch.uncounted.empty() ? "" : " (not counted: " + mismatch.uncounted + ")"),
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
