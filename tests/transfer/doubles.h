#pragma once
/// The two sides of the downloader: a source in memory that can misbehave, and an observer that remembers like a
/// database.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "caiexport/model/job.h"
#include "caiexport/transfer/downloader.h"

namespace caiexport::transfer::testing {

/// Bytes that depend on the name and the place, so that a misplaced one is noticed.
inline std::string contentOf(const std::string& name, std::uint64_t lengthBytes) {
  std::string content(lengthBytes, '\0');
  std::uint64_t state = std::hash<std::string>{}(name) | 1U;
  for (char& byte : content) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<char>(state >> 56U);
  }
  return content;
}

inline std::string readAll(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void writeAll(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

inline std::span<const std::byte> bytesOf(const std::string& text, std::uint64_t first, std::uint64_t end) {
  return std::as_bytes(std::span(text)).subspan(first, end - first);
}

/// The disk without waiting for the device: tests write thousands of files.
class UnsyncedFileSystem : public core::FileSystem {
 public:
  using core::FileSystem::open;
  std::unique_ptr<core::WritableFile> open(const std::filesystem::path& path, unsigned mode) override {
    return std::make_unique<File>(disk_.open(path, mode));
  }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override { disk_.rename(from, to); }
  void syncDirectory(const std::filesystem::path&) override {}
  void remove(const std::filesystem::path& path) override { disk_.remove(path); }
  void createDirectories(const std::filesystem::path& path) override { disk_.createDirectories(path); }
  std::optional<std::uint64_t> sizeOf(const std::filesystem::path& path) override { return disk_.sizeOf(path); }
  std::uint64_t freeBytes(const std::filesystem::path& directory) override { return disk_.freeBytes(directory); }

 private:
  class File final : public core::WritableFile {
   public:
    explicit File(std::unique_ptr<core::WritableFile> file) : file_(std::move(file)) {}
    void writeAt(std::uint64_t offset, std::span<const std::byte> data) override { file_->writeAt(offset, data); }
    std::size_t readAt(std::uint64_t offset, std::span<std::byte> into) override { return file_->readAt(offset, into); }
    void resize(std::uint64_t bytes) override { file_->resize(bytes); }
    void sync() override {}

   private:
    std::unique_ptr<core::WritableFile> file_;
  };

  core::FileSystem& disk_ = core::diskFileSystem();
};

struct Call {
  std::size_t number = 0;  ///< Of all fetches, from 1.
  std::string name = {};
  model::ByteRange range = {};
};

/// Serves contentOf(name); `behave` may do it in another way. Thread safe.
class MemorySource final : public ByteSource {
 public:
  /// True: it answered itself. False: the ordinary answer is to follow.
  using Behaviour =
      std::function<bool(const Call& call, const std::string& content, model::ByteSink& sink, std::stop_token)>;

  explicit MemorySource(Behaviour behave = {}, std::size_t chunkBytes = 300)
      : behave_(std::move(behave)), chunkBytes_(chunkBytes) {}

  void fetch(const model::RemoteFile& file, model::ByteRange range, model::ByteSink& sink,
             std::stop_token stop) override {
    Call call;
    std::shared_ptr<const std::string> content;
    {
      const std::lock_guard lock(mutex_);
      calls_.push_back({calls_.size() + 1, file.name, range});
      call = calls_.back();
      content = contentFor(file);
      mostAtOnce_ = std::max(mostAtOnce_, ++atOnce_);
    }
    const std::unique_ptr<MemorySource, void (*)(MemorySource*)> leave(this, [](MemorySource* source) {
      const std::lock_guard lock(source->mutex_);
      --source->atOnce_;
    });
    if (behave_ && behave_(call, *content, sink, stop)) return;
    sink.begin(range.first, content->size());
    send(*content, range, sink, stop);
  }

  void send(const std::string& content, model::ByteRange range, model::ByteSink& sink,
            const std::stop_token& stop = {}) {
    for (std::uint64_t at = range.first; at < range.end;) {
      if (stop.stop_requested()) throw core::Interrupted();
      const std::uint64_t end = at + sink.room(std::min<std::uint64_t>(range.end - at, chunkBytes_));
      {
        const std::lock_guard lock(mutex_);
        bytesSent_ += end - at;
      }
      sink.write(bytesOf(content, at, end));
      at = end;
    }
  }

  std::vector<Call> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  std::uint64_t bytesSent() const {
    const std::lock_guard lock(mutex_);
    return bytesSent_;
  }
  unsigned mostAtOnce() const {
    const std::lock_guard lock(mutex_);
    return mostAtOnce_;
  }

 private:
  std::shared_ptr<const std::string> contentFor(const model::RemoteFile& file) {
    auto& content = contents_[file.name];
    if (!content) content = std::make_shared<const std::string>(contentOf(file.name, file.lengthBytes));
    return content;
  }

  Behaviour behave_;
  std::size_t chunkBytes_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const std::string>> contents_;
  std::vector<Call> calls_;
  std::uint64_t bytesSent_ = 0;
  unsigned atOnce_ = 0;
  unsigned mostAtOnce_ = 0;
};

/// Keeps what a database would keep, and checks that all calls come from one thread.
class Ledger final : public Observer {
 public:
  /// Called before a call takes effect; may throw.
  std::function<void(const std::string& call)> before = {};

  std::map<std::int64_t, std::vector<model::ByteRange>> done;
  std::map<std::int64_t, model::PartFacts> facts;
  std::vector<std::string> restarts;
  std::map<std::int64_t, Completion> completions;
  std::map<std::int64_t, core::Error> failures;
  std::vector<std::string> calls;

  void rangesOnDisk(std::int64_t key, std::span<const model::ByteRange> ranges,
                    const model::PartFacts& known) override {
    note("ranges " + std::to_string(key));
    done[key] = {ranges.begin(), ranges.end()};
    facts[key] = known;
  }
  void completed(std::vector<Completion> files) override {
    std::string call = "completed";
    for (const Completion& file : files) call += " " + std::to_string(file.key);
    note(call);
    for (const Completion& file : files) completions[file.key] = file;
  }
  void failed(std::int64_t key, const core::Error& error) override {
    note("failed " + std::to_string(key));
    failures.insert_or_assign(key, error);
  }
  void restarted(std::int64_t key, const std::string& why) override {
    note("restarted " + std::to_string(key));
    done.erase(key);
    restarts.push_back(why);
  }

  bool sawOtherThreads() const { return otherThreads_; }

 private:
  void note(const std::string& call) {
    if (std::this_thread::get_id() != thread_) otherThreads_ = true;
    calls.push_back(call);
    if (before) before(call);
  }

  std::thread::id thread_ = std::this_thread::get_id();
  bool otherThreads_ = false;
};

inline DownloadItem itemOf(std::int64_t key, std::uint64_t lengthBytes, const std::filesystem::path& folder) {
  DownloadItem item;
  item.key = key;
  item.remote.name = "f" + std::to_string(key);
  item.remote.lengthBytes = lengthBytes;
  item.target = folder / item.remote.name;
  return item;
}

/// All items are known from the start.
class ItemList final : public ItemFeed {
 public:
  using Next = std::function<std::optional<DownloadItem>()>;
  explicit ItemList(Next next) : next_(std::move(next)) {}
  explicit ItemList(std::vector<DownloadItem> items)
      : next_([items = std::move(items), at = std::size_t{0}]() mutable -> std::optional<DownloadItem> {
          if (at == items.size()) return std::nullopt;
          return items[at++];
        }) {}
  std::optional<DownloadItem> next() override { return next_(); }

 private:
  Next next_;
};

}  // namespace caiexport::transfer::testing
