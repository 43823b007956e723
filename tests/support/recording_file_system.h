#pragma once
/// The crash double: a real file system that writes down each change and can die at any of them.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "caiexport/core/file_system.h"

namespace caiexport::support {

/// What a crash looks like from inside: no std::exception, so that no ordinary handler takes it for a failure.
struct SimulatedCrash {};

/// Passes every call on to the disk and records those that change something (and `sync`), one line each, with paths as
/// their last component: "open a.part", "write a.part 0+10", "resize a.part 10", "sync a.part", "rename a.part a",
/// "syncDirectory out", "remove a.part", "createDirectories out". Pure reads are neither recorded nor counted.
/// Thread safe; files it opened must not outlive it.
class RecordingFileSystem : public core::FileSystem {
 public:
  /// Called instead of the n-th recorded call; it must throw.
  using Failure = std::function<void()>;

  explicit RecordingFileSystem(core::FileSystem& disk = core::diskFileSystem()) : disk_(disk) {}

  /// The n-th recorded call (the first is 1) and every one after it throw SimulatedCrash and change nothing: a dead
  /// process does not tidy up. 0: never.
  void crashAtCall(std::size_t n) {
    const std::lock_guard lock(mutex_);
    crashAt_ = n;
  }

  /// The n-th recorded call fails by `failure`; those after it work again. For errors that a program handles.
  void failAtCall(std::size_t n, Failure failure) {
    const std::lock_guard lock(mutex_);
    failAt_ = n;
    failure_ = std::move(failure);
  }

  /// What was attempted so far, the failed calls included.
  std::vector<std::string> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

  using core::FileSystem::open;
  std::unique_ptr<core::WritableFile> open(const std::filesystem::path& path, unsigned mode) override {
    record("open " + nameOf(path));
    return std::make_unique<File>(*this, nameOf(path), disk_.open(path, mode));
  }

  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    record("rename " + nameOf(from) + " " + nameOf(to));
    disk_.rename(from, to);
  }

  void syncDirectory(const std::filesystem::path& path) override {
    record("syncDirectory " + nameOf(path));
    disk_.syncDirectory(path);
  }

  void remove(const std::filesystem::path& path) override {
    record("remove " + nameOf(path));
    disk_.remove(path);
  }

  void createDirectories(const std::filesystem::path& path) override {
    record("createDirectories " + nameOf(path));
    disk_.createDirectories(path);
  }

  std::optional<std::uint64_t> sizeOf(const std::filesystem::path& path) override { return disk_.sizeOf(path); }

  std::uint64_t freeBytes(const std::filesystem::path& directory) override {
    const std::optional<std::uint64_t> pretended = pretendedFreeBytes();
    return pretended ? *pretended : disk_.freeBytes(directory);
  }

  /// What freeBytes answers from now on.
  void pretendFreeBytes(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    freeBytes_ = bytes;
  }

 private:
  class File final : public core::WritableFile {
   public:
    File(RecordingFileSystem& owner, std::string name, std::unique_ptr<core::WritableFile> file)
        : owner_(owner), name_(std::move(name)), file_(std::move(file)) {}

    void writeAt(std::uint64_t offset, std::span<const std::byte> data) override {
      owner_.record("write " + name_ + " " + std::to_string(offset) + "+" + std::to_string(data.size()));
      file_->writeAt(offset, data);
    }

    std::size_t readAt(std::uint64_t offset, std::span<std::byte> into) override { return file_->readAt(offset, into); }

    void resize(std::uint64_t bytes) override {
      owner_.record("resize " + name_ + " " + std::to_string(bytes));
      file_->resize(bytes);
    }

    void sync() override {
      owner_.record("sync " + name_);
      file_->sync();
    }

   private:
    RecordingFileSystem& owner_;
    std::string name_;
    std::unique_ptr<core::WritableFile> file_;
  };

  static std::string nameOf(const std::filesystem::path& path) { return path.filename().string(); }

  void record(std::string call) {
    Failure failure;
    {
      const std::lock_guard lock(mutex_);
      calls_.push_back(std::move(call));
      if (crashAt_ != 0 && calls_.size() >= crashAt_) throw SimulatedCrash();
      if (failAt_ != 0 && calls_.size() == failAt_) failure = failure_;
    }
    if (failure) failure();
  }

  std::optional<std::uint64_t> pretendedFreeBytes() const {
    const std::lock_guard lock(mutex_);
    return freeBytes_;
  }

  core::FileSystem& disk_;
  mutable std::mutex mutex_;
  std::vector<std::string> calls_;
  std::size_t crashAt_ = 0;
  std::size_t failAt_ = 0;
  Failure failure_;
  std::optional<std::uint64_t> freeBytes_;
};

}  // namespace caiexport::support
