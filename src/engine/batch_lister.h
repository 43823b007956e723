#pragma once
/// Lists files on a thread of its own, so that the first ones can be fetched while the platform still names others.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "caiexport/model/job.h"

namespace caiexport::platform {
class Client;
}

namespace caiexport::engine {

class BatchLister {
 public:
  /// Files of one batch, in the order of the listing.
  struct Page {
    model::BatchId batch = {};
    std::vector<model::RemoteFile> files = {};
    bool last = false;  ///< Of this batch; each batch has one such page, perhaps an empty one.
  };

  /// `arrived` is called on the lister's thread after each page, and at the end.
  BatchLister(platform::Client& client, std::vector<model::BatchId> batches, std::function<void()> arrived,
              std::stop_token stop);
  /// Stops listing.
  ~BatchLister();
  BatchLister(const BatchLister&) = delete;
  BatchLister& operator=(const BatchLister&) = delete;

  /// The next page, or nothing for now. What ended the listing early is thrown after the pages before it.
  std::optional<Page> take();
  /// Whether all pages were taken.
  bool ended() const;

 private:
  void list(const std::stop_token& stop);
  void listBatch(const model::BatchId& batch, const std::stop_token& stop);
  void push(Page page, const std::stop_token& stop);

  platform::Client& client_;
  const std::vector<model::BatchId> batches_;
  const std::function<void()> arrived_;
  mutable std::mutex mutex_;
  std::condition_variable_any taken_;
  std::deque<Page> pages_;
  std::exception_ptr problem_;
  bool finished_ = false;
  std::jthread thread_;
  std::stop_callback<std::function<void()>> onStop_;
};

}  // namespace caiexport::engine
