#pragma once
/// Hands out the files that are not here yet, a page at a time, so that memory does not grow with their number; while
/// they are still being listed, too.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "batch_lister.h"
#include "steps.h"

namespace caiexport::engine {

/// For the thread that runs the job.
class FileFeed final : public transfer::ItemFeed {
 public:
  /// `lists`: asks the platform for the files first; each is handed out as soon as it is recorded and its path can be
  /// relied on.
  FileFeed(StepContext& context, transfer::DownloadProgress& progress, bool lists);

  void begin(std::function<void()> wake) override;
  void end() override { lister_.reset(); }
  void attend() override;
  std::optional<transfer::DownloadItem> next() override;
  bool mayGrow() const override { return lists_; }
  std::optional<std::chrono::nanoseconds> latency() const override;

  /// The downloader is done with the file: it is complete, or could not be downloaded.
  void onCompleted(std::int64_t file);
  void onFailed(std::int64_t file);

 private:
  void record(BatchLister::Page page);
  void settle();
  bool settleBatch(const model::BatchId& batch);
  void settleNames(const model::BatchId& batch);
  bool folderFolds();
  void listed();
  bool loadPage();
  std::vector<model::FileRecord> nextRecords();
  transfer::DownloadItem prepared(const model::FileRecord& record, transfer::DownloadItem item,
                                  std::vector<std::int64_t>& started);
  transfer::DownloadItem itemFor(const model::FileRecord& record) const;
  void useExisting(const model::FileRecord& record, transfer::DownloadItem& item, std::uint64_t sizeBytes);
  std::string hashInManifest(const model::FileRecord& record);
  bool isReplaceable(const model::FileRecord& record) const;
  void requireReplaceable(const model::FileRecord& record, const std::filesystem::path& target) const;

  StepContext& context_;
  transfer::DownloadProgress& progress_;
  bool lists_;
  std::function<void()> wake_;
  std::deque<model::BatchId> unsettled_;  ///< All their pages are in.
  std::int64_t lastId_ = 0;
  std::deque<transfer::DownloadItem> page_;
  std::optional<bool> folds_;
  std::set<std::int64_t> handedOut_;  ///< And not done yet, or failed: not to be handed out again.
  std::set<std::int64_t> underWay_;
  std::optional<model::BatchId> manifestOf_;
  std::map<std::pair<std::string, std::uint64_t>, std::string> hashes_;  ///< By path and length, in that manifest.
  std::unique_ptr<BatchLister> lister_;                                  // last: its thread calls wake_
};

}  // namespace caiexport::engine
