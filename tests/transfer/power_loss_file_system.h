#pragma once
/// The crash double for power failures: loses what was not synced.

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "caiexport/core/file_system.h"
#include "caiexport/model/job.h"

namespace caiexport::transfer::testing {

/// Passes on to the disk, without waiting for the device, and remembers what a power failure would take away: bytes
/// written since the last sync of their file, names given since the last sync of their folder. Thread safe; files it
/// opened must not outlive it.
class PowerLossFileSystem final : public core::FileSystem {
 public:
  using core::FileSystem::open;
  std::unique_ptr<core::WritableFile> open(const std::filesystem::path& path, unsigned mode) override {
    return std::make_unique<File>(*this, path, disk_.open(path, mode));
  }

  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    disk_.rename(from, to);
    const std::lock_guard lock(mutex_);
    renamed_.emplace_back(from, to);
    unsynced_[to] = std::exchange(unsynced_[from], {});
  }

  void syncDirectory(const std::filesystem::path& path) override {
    const std::lock_guard lock(mutex_);
    std::erase_if(renamed_, [&](const auto& each) { return each.second.parent_path() == path; });
  }

  void remove(const std::filesystem::path& path) override { disk_.remove(path); }
  void createDirectories(const std::filesystem::path& path) override { disk_.createDirectories(path); }
  std::optional<std::uint64_t> sizeOf(const std::filesystem::path& path) override { return disk_.sizeOf(path); }
  std::uint64_t freeBytes(const std::filesystem::path& directory) override { return disk_.freeBytes(directory); }

  /// The power fails: unsynced bytes turn into others, unsynced names go back.
  void cut() {
    for (auto each = renamed_.rbegin(); each != renamed_.rend(); ++each) {
      std::filesystem::rename(each->second, each->first);
      unsynced_[each->first] = std::exchange(unsynced_[each->second], {});
    }
    for (const auto& [path, ranges] : unsynced_) {
      std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
      for (const model::ByteRange& range : ranges) {
        file.seekp(static_cast<std::streamoff>(range.first));
        file << std::string(range.sizeBytes(), '!');
      }
    }
    renamed_.clear();
    unsynced_.clear();
  }

 private:
  class File final : public core::WritableFile {
   public:
    File(PowerLossFileSystem& owner, std::filesystem::path path, std::unique_ptr<core::WritableFile> file)
        : owner_(owner), path_(std::move(path)), file_(std::move(file)) {}

    void writeAt(std::uint64_t offset, std::span<const std::byte> data) override {
      {
        const std::lock_guard lock(owner_.mutex_);
        owner_.unsynced_[path_].push_back({offset, offset + data.size()});
      }
      file_->writeAt(offset, data);
    }
    std::size_t readAt(std::uint64_t offset, std::span<std::byte> into) override { return file_->readAt(offset, into); }
    void resize(std::uint64_t bytes) override { file_->resize(bytes); }
    void sync() override {
      const std::lock_guard lock(owner_.mutex_);
      owner_.unsynced_[path_].clear();
    }

   private:
    PowerLossFileSystem& owner_;
    std::filesystem::path path_;
    std::unique_ptr<core::WritableFile> file_;
  };

  core::FileSystem& disk_ = core::diskFileSystem();
  std::mutex mutex_;
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> renamed_;
  std::map<std::filesystem::path, std::vector<model::ByteRange>> unsynced_;
};

}  // namespace caiexport::transfer::testing
