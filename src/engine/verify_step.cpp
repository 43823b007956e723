/// Holds what is on disk against what was promised: sizes, Parquet footers, row counts.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <stdexcept>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/platform/client.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/reader/tables.h"
#include "caiexport/store/job_store.h"
#include "caiexport/transfer/downloader.h"
#include "folders.h"
#include "steps.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;
using model::FileRecord;
using model::VerifyLevel;
using reader::Content;
using Rows = std::optional<std::uint64_t>;

constexpr std::size_t kPage = 256;

// --- guards (--min-records, --max-change): what a result must be like for it to count

std::string percent(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%+.1f %%", value);
  return text;
}

std::string plainPercent(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.6g%%", value);
  return text;
}

[[noreturn]] void refuse(const StepContext& context, const std::string& message) {
  throw Error(Category::verification, message,
              {.hint = "the files are kept in " + core::printable(folderOf(context.job).string()) + " and `" +
                       latestIn(folderOf(context.job)).filename().string() +
                       "` stays; to accept them, run again without this guard (nothing is downloaded twice)"});
}

void requireSimilar(StepContext& context, const std::string& what, std::uint64_t records, double mostPercent) {
  const auto last = context.tools.store.lastSuccess(context.job);
  if (!last) {
    const std::string text = "--max-change is not checked, because there is no earlier success to compare with";
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "guard", text);
    return;
  }
  const std::string of = "the last success (job " + std::to_string(model::numberOf(last->job)) + ", " +
                         core::formatTime(last->finishedAt) + ")";
  const std::uint64_t before = last->records;
  if (records == before) return;
  const double change =
      before == 0 ? std::numeric_limits<double>::infinity()
                  : 100.0 * (static_cast<double>(records) - static_cast<double>(before)) / static_cast<double>(before);
  if (std::abs(change) <= mostPercent) return;
  refuse(context, what + " holds " + std::to_string(records) + " records; " + of + " had " + std::to_string(before) +
                      ": a change of " + percent(change) + ", expected at most " + plainPercent(mostPercent) +
                      " (--max-change)");
}

/// Error(verification) if the records are fewer than --min-records, or too far from those of the last success, and if
/// that can't be checked: a number of records is unknown. Only if there is no earlier success at all, --max-change
/// passes and says so: otherwise no first run could ever pass.
void requireExpectedRecords(StepContext& context, const std::string& what, std::optional<std::uint64_t> records) {
  const model::Guards& guards = context.job.request.guards;
  if (!guards.minRecords && !guards.maxChangePercent) return;
  if (!records) {
    refuse(context, "the number of records of " + what +
                        " is unknown, because its files could not be counted, so the result cannot be checked: --" +
                        (guards.minRecords ? "min-records" : "max-change") + " can't be checked");
  }
  if (guards.minRecords && *records < *guards.minRecords) {
    refuse(context, what + " holds " + std::to_string(*records) + " records, expected at least " +
                        std::to_string(*guards.minRecords) + " (--min-records)");
  }
  if (guards.maxChangePercent) requireSimilar(context, what, *records, *guards.maxChangePercent);
}

// --- the files

/// Files that are no part of the count, for people: the first few by name.
struct LeftOut {
  static constexpr std::size_t kNamed = 3;
  std::uint64_t count = 0;
  std::vector<std::string> names = {};

  void add(const std::string& name) {
    if (++count <= kNamed) names.push_back(core::printable(name, 80));
  }
  std::string text() const {
    const std::string text = core::joined(names, ", ");
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

/// One file; the others are looked at all the same.
struct WrongFile final : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Verification {
 public:
  /// `hashes`: the bytes are compared as well with those that were written.
  explicit Verification(StepContext& context, bool hashes = false) : context_(context), hashes_(hashes) {
    for (const model::Batch& batch : context.job.batches) counts_[batch.id] = {};
  }

  void checkAllFiles() {
    store::JobStore& store = context_.tools.store;
    const model::JobId job = context_.job.id;
    // Which parts were committed is known only once all markers have been seen.
    forEachPage([&](std::int64_t last) { return store.filesBeginningWith(job, reader::kMarkersBegin, last, kPage); },
                [this](const std::vector<FileRecord>& page) {
                  for (const FileRecord& file : page) tables_.note(pathOf(file), placeOf(file));
                });
    forEachPage([&](std::int64_t last) { return store.files(job, last, kPage, {}); },
                [this](const std::vector<FileRecord>& page) { checkPage(page); });
    // What was wrong is fetched again, by this run.
    context_.run.fromBefore.clear();
    if (wrong_.count > 0) return;
    for (const auto& [batch, count] : counts_) tellLeftOut(batch, count);
  }

  /// Files that are not what they should be: recorded as failed, so that they are fetched again.
  struct Wrong {
    std::uint64_t count = 0;
    std::string first = {};
  };
  const Wrong& wrong() const { return wrong_; }

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
      if (!keepsPromise(batch) && !context_.tools.store.wasAccepted(context_.job.id, batch.id, *counted)) {
        return Mismatch{.who = "batch " + batch.id.value(),
                        .promised = *batch.records,
                        .counted = *counted,
                        .uncounted = count.uncounted.text()};
      }
    }
    const Rows all = total();
    const std::optional<std::uint64_t> reported = context_.job.reportedProfiles;
    // With their events people have more than a row each.
    const bool withEvents = !context_.job.request.segment.eventFields.empty();
    if (!all || !reported || withEvents || *all == *reported) return std::nullopt;
    return Mismatch{.who = "export job " + context_.job.exportJobId.value(), .promised = *reported, .counted = *all};
  }

  /// Another number than was promised, which `--accept-rows` took in an earlier job.
  void tellAccepted() const {
    for (const model::Batch& batch : context_.job.batches) {
      const Rows counted = counts_.at(batch.id).counted();
      if (keepsPromise(batch) || !context_.tools.store.wasAccepted(context_.job.id, batch.id, *counted)) continue;
      const std::string text = "batch " + batch.id.value() + " was promised with " + std::to_string(*batch.records) +
                               " records and holds " + std::to_string(*counted) + ", which were accepted earlier";
      context_.tools.observer.notice(text);
      context_.tools.store.addEvent(context_.job.id, context_.step.name, "rows_accepted", text);
    }
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
  /// As far as its files could be counted.
  bool keepsPromise(const model::Batch& batch) const {
    const Rows counted = counts_.at(batch.id).counted();
    return !counted || !batch.records || *counted == *batch.records;
  }

  template <class After, class Take>
  static void forEachPage(const After& after, const Take& take) {
    for (std::int64_t last = 0;;) {
      const std::vector<FileRecord> page = after(last);
      if (page.empty()) return;
      last = page.back().id;
      take(page);
    }
  }

  std::filesystem::path pathOf(const FileRecord& file) { return folders_.of(file.remote.batchId) / file.path; }

  /// Commit markers speak of their own folder of the batch alone.
  static std::string placeOf(const FileRecord& file) {
    return file.remote.batchId.value() + "/" + file.remote.datasetFileId.value();
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
    if (counts()) tell(count.uncounted, "cannot be counted, because it is not Parquet");
    tell(count.uncommitted, "not counted, because the batch's commit markers do not name them");
  }

  void checkPage(const std::vector<FileRecord>& page) {
    std::vector<store::JobStore::Verified> verified;
    std::vector<store::JobStore::Wrong> wrong;
    for (const FileRecord& file : page) {
      if (context_.stop.stop_requested()) {
        context_.tools.store.recordVerified(verified);
        throw core::Interrupted();
      }
      try {
        const Rows rows = checkFile(file);
        verified.push_back({.file = file.id, .records = rows});
      } catch (const WrongFile& problem) {
        wrong.push_back({.file = file.id, .why = problem.what()});
      }
    }
    context_.tools.store.recordVerified(verified);
    if (wrong.empty()) return;
    context_.tools.store.recordWrong(context_.job.id, context_.step.name, wrong);
    if (wrong_.count == 0) wrong_.first = wrong.front().why;
    wrong_.count += wrong.size();
  }

  Rows checkFile(const FileRecord& file) {
    const std::filesystem::path path = pathOf(file);
    const std::optional<std::uint64_t> size = context_.tools.files.sizeOf(path);
    if (!size) throw WrongFile("'" + core::printable(path.string()) + "' is gone");
    if (*size != file.remote.lengthBytes) {
      throw WrongFile("'" + core::printable(path.string()) + "' has " + std::to_string(*size) + " bytes, not " +
                      std::to_string(file.remote.lengthBytes));
    }
    requireUnchanged(file, path);
    Count& count = counts_[file.remote.batchId];
    switch (tables_.contentOf(path, placeOf(file))) {
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

  /// Between two runs anybody may have written to it.
  void requireUnchanged(const FileRecord& file, const std::filesystem::path& path) const {
    const bool fromBefore = std::ranges::binary_search(context_.run.fromBefore, file.id);
    if (!fromBefore && (!hashes_ || file.sha256.empty())) return;
    const std::string hash = transfer::sha256OfFile(path, context_.stop);
    if (hash == file.sha256) return;
    throw WrongFile("'" + core::printable(path.string()) + "' was changed since it was fetched: its SHA-256 is " +
                    hash + ", not " + file.sha256);
  }

  std::uint64_t rowsOf(const FileRecord& file, const std::filesystem::path& path) {
    // Found good by an earlier try of this step.
    if (file.state == model::FileState::verified && file.records) return *file.records;
    try {
      // Nothing but its content shows that a file of several runs is of one version.
      const bool full = context_.job.request.verify == VerifyLevel::full || file.unproven;
      const auto depth = full ? reader::Depth::full : reader::Depth::footer;
      return reader().inspect(path, depth, context_.stop).rows;
    } catch (const Error& error) {
      if (error.category() == Category::verification) throw WrongFile(error.what());
      throw;
    }
  }

  reader::ParquetReader& reader() {
    if (!reader_) reader_ = context_.tools.openReader();
    return *reader_;
  }

  StepContext& context_;
  BatchFolders folders_{context_.job};
  bool hashes_;
  Wrong wrong_;
  std::map<model::BatchId, Count> counts_;
  reader::TableFinder tables_;
  std::unique_ptr<reader::ParquetReader> reader_;
};

bool hasFailedFile(StepContext& context) {
  constexpr model::FileState kFailed[] = {model::FileState::failed};
  return !context.tools.store.files(context.job.id, 0, 1, kFailed).empty();
}

std::string textOf(const Verification::Wrong& wrong) {
  if (wrong.count == 1) return wrong.first;
  return std::to_string(wrong.count) + " files are not what they should be; the first: " + wrong.first;
}

[[noreturn]] void throwWrong(const StepContext& context, const Verification::Wrong& wrong) {
  throw Error(
      Category::verification, textOf(wrong),
      {.hint = "the files stay where they are; caiexport resume " + std::to_string(model::numberOf(context.job.id)) +
               " fetches " + (wrong.count == 1 ? "this one" : "these") + " again"});
}

std::string textOf(const Verification::Mismatch& mismatch) {
  return mismatch.who + " was promised with " + std::to_string(mismatch.promised) + " records, but its files hold " +
         std::to_string(mismatch.counted) +
         (mismatch.uncounted.empty() ? "" : " (not counted: " + mismatch.uncounted + ")");
}

[[noreturn]] void throwMismatch(const StepContext& context, const Verification::Mismatch& mismatch) {
  const std::string resume = "caiexport resume " + std::to_string(model::numberOf(context.job.id));
  throw Error(
      Category::verification, textOf(mismatch),
      {.hint = "the files stay where they are, each as the platform sent it; deletions (privacy requests, data "
               "hygiene) rewrite the files of old batches and leave the promised number as it was; " +
               resume + " lists them again, and " + resume + " --accept-rows takes the number that was counted"});
}

/// `--accept-rows`: the numbers are on record.
void acceptRows(StepContext& context, const Verification::Mismatch& mismatch) {
  const std::string text = textOf(mismatch) + ": accepted by --accept-rows";
  context.tools.observer.notice(text);
  context.tools.store.addEvent(context.job.id, context.step.name, "rows_accepted", text);
}

/// All that is wrong at once, and once in a run.
void repair(StepContext& context, const Verification::Wrong& wrong) {
  if (std::exchange(context.run.repairedHere, true)) throwWrong(context, wrong);
  const std::string text = (wrong.count == 1 ? "1 file is" : std::to_string(wrong.count) + " files are") +
                           (wrong.count == 1 ? " downloaded again: " : " downloaded again; the first: ") + wrong.first;
  context.tools.observer.notice(text);
  context.tools.store.addEvent(context.job.id, context.step.name, "files_fetched_again", text);
  fetchMissing(context, context.step.name);
}

/// The number of records.
Rows verified(StepContext& context) {
  for (;;) {
    Verification verification(context);
    verification.checkAllFiles();
    if (verification.wrong().count > 0) {
      repair(context, verification.wrong());
      continue;
    }
    const auto mismatch = verification.mismatch();
    // A job that was done and goes on again: these rows were taken then.
    const bool taken = context.job.records && context.job.records == verification.total();
    if (taken) return verification.total();
    if (mismatch && !context.run.listIsFresh) {
      // An earlier run's list may have lacked files: lists can change between two pages.
      fetchMissing(context, context.step.name);
      continue;
    }
    if (mismatch && !context.run.acceptRows) throwMismatch(context, *mismatch);
    if (mismatch) acceptRows(context, *mismatch);
    verification.tellAccepted();
    // Before the manifest: a batch that is not accepted is no part of its dataset's folder, nor the latest one.
    verification.guard();
    return verification.total();
  }
}

/// All files are here, and who has lost one to another worker writes no more.
void removeWhatWorkersLeft(StepContext& context) {
  if (context.job.share.empty()) return;
  for (const model::Batch& batch : context.job.batches) {
    removeFencedParts(context.tools.files, folderOf(context.job, batch.id), transfer::partTagOf(context.job.uuid));
  }
}

void writeManifests(StepContext& context) {
  for (const model::Batch& batch : context.job.batches) {
    writeManifest(context.job, batch, context.tools.store, context.tools.files);
  }
}

}  // namespace

void requireFilesBeforeDeletion(StepContext& context) {
  if (context.run.verifiedHere || isDeliveredAlready(context)) return;
  holdFolders(context);
  if (hasFailedFile(context)) fetchMissing(context, context.step.name);
  for (;;) {
    Verification verification(context, true);
    verification.checkAllFiles();
    if (verification.wrong().count == 0) break;
    repair(context, verification.wrong());
  }
  if (context.run.repairedHere) writeManifests(context);
}

Turn verifyFiles(StepContext& context) {
  if (isDeliveredAlready(context)) {
    context.tools.store.finishStep(context.job.id, context.step.name, {});
    return {};
  }
  holdFolders(context);
  // What an earlier try found wrong is fetched again first.
  if (hasFailedFile(context)) fetchMissing(context, context.step.name);
  const Rows records = verified(context);
  removeWhatWorkersLeft(context);
  writeManifests(context);
  context.run.verifiedHere = true;
  const auto tell = [&](std::string_view text) { context.tools.observer.notice(text); };
  // `sync` has a job for each batch, and looks at all of them at its end.
  if (!context.job.request.batches.batch.empty() && context.job.batches.size() == 1) {
    bringLatest(folderOf(context.job, context.job.batches.front().id), context.tools.files, tell);
  } else {
    for (const std::filesystem::path& folder : datasetFolders(context.job.request.output, context.job.datasetId)) {
      switchLatest(folder, context.tools.files, tell);
    }
  }
  context.tools.store.finishStep(context.job.id, context.step.name, {.records = records});
  return {};
}

}  // namespace caiexport::engine
