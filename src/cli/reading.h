#pragma once
/// What `read` and `scores` share: the reader over what was named, and where the result goes.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "caiexport/cli/application.h"
#include "caiexport/reader/parquet_reader.h"
#include "input_files.h"

namespace caiexport::cli {

/// A folder for what the reader can't keep in memory; removed at the end.
class ScratchFolder {
 public:
  /// Beside `output`, so that both have the same room; else where the system puts temporary files. Not created here.
  explicit ScratchFolder(const std::optional<std::filesystem::path>& output);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The named set, open. For one thread.
class Reading {
 public:
  Reading(const ParsedOptions& options, Context& context);
  reader::Profiles& profiles() { return *profiles_; }
  const InputSet& input() const { return input_; }
  const std::filesystem::path& scratch() const { return scratch_.path(); }

 private:
  std::uint64_t memoryBytes_;
  InputSet input_;
  ScratchFolder scratch_;
  std::unique_ptr<reader::ParquetReader> reader_;
  std::unique_ptr<reader::Profiles> profiles_;
};

/// --output; Error(usage) for a folder.
std::optional<std::filesystem::path> outputFile(const ParsedOptions& options);

/// Makes `target` by way of a part file beside it: `fill` is given the part's path and makes it; then it is synced and
/// renamed. Nothing is left after a failure, and what was at `target` stays.
void makeFile(const std::filesystem::path& target, const std::function<void(const std::filesystem::path&)>& fill);

/// `text` to --output or standard output.
void deliver(const std::optional<std::filesystem::path>& output, const std::string& text, Context& context);

/// Rows to a file.
class FileOutput final : public reader::Output {
 public:
  explicit FileOutput(const std::filesystem::path& path);
  ~FileOutput() override;
  bool write(std::span<const std::byte> bytes) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Rows to standard output.
class StreamOutput final : public reader::Output {
 public:
  explicit StreamOutput(StandardOutput& out) : out_(out) {}
  bool write(std::span<const std::byte> bytes) override;

 private:
  StandardOutput& out_;
};

}  // namespace caiexport::cli
