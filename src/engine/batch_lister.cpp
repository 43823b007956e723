#include "batch_lister.h"

#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/platform/client.h"
#include "unreadable_batch.h"

namespace caiexport::engine {
namespace {

// Bounds memory; whoever takes pages has nothing slower to do than recording them.
constexpr std::size_t kMostPages = 16;
// Of so many files at once, more are likely to follow.
constexpr std::size_t kFullPage = 50;

}  // namespace

BatchLister::BatchLister(platform::Client& client, std::vector<model::BatchId> batches, std::function<void()> arrived,
                         std::stop_token stop)
    : client_(client),
      batches_(std::move(batches)),
      arrived_(std::move(arrived)),
      thread_([this](const std::stop_token& ending) { list(ending); }),
      onStop_(std::move(stop), [this] { thread_.request_stop(); }) {}

BatchLister::~BatchLister() = default;

std::optional<BatchLister::Page> BatchLister::take() {
  const std::lock_guard lock(mutex_);
  if (pages_.empty()) {
    if (problem_) std::rethrow_exception(problem_);
    return std::nullopt;
  }
  Page page = std::move(pages_.front());
  pages_.pop_front();
  taken_.notify_one();
  return page;
}

bool BatchLister::ended() const {
  const std::lock_guard lock(mutex_);
  return finished_ && pages_.empty();
}

void BatchLister::list(const std::stop_token& stop) {
  std::exception_ptr problem;
  try {
    for (const model::BatchId& batch : batches_) listBatch(batch, stop);
  } catch (...) {
    problem = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    problem_ = problem;
    finished_ = !problem;
  }
  arrived_();
}

/// The last files are handed on together with the news that they are the last: so a short list is known as a whole
/// before anything of it is fetched.
void BatchLister::listBatch(const model::BatchId& batch, const std::stop_token& stop) {
  Page page{.batch = batch};
  const auto onFiles = [&](std::vector<model::RemoteFile>&& files) {
    if (!page.files.empty()) push(std::exchange(page, Page{.batch = batch}), stop);
    page.files = std::move(files);
    if (page.files.size() >= kFullPage) push(std::exchange(page, Page{.batch = batch}), stop);
  };
  engine::listBatch(client_, batch, onFiles, stop);
  page.last = true;
  push(std::move(page), stop);
}

void BatchLister::push(Page page, const std::stop_token& stop) {
  {
    std::unique_lock lock(mutex_);
    if (!taken_.wait(lock, stop, [this] { return pages_.size() < kMostPages; })) throw core::Interrupted();
    pages_.push_back(std::move(page));
  }
  arrived_();
}

}  // namespace caiexport::engine
