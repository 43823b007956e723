#pragma once
/// Where `read` and `scores` write to, and the folder in which what they write comes to be.

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "caiexport/cli/application.h"
#include "caiexport/core/descriptors.h"
#include "caiexport/reader/parquet_reader.h"

namespace caiexport::cli {

/// --output, or standard output.
class OutputTarget {
 public:
  /// Follows links. Error(usage) for a folder.
  explicit OutputTarget(const ParsedOptions& options);
  explicit OutputTarget(const std::filesystem::path& path);

  bool given() const { return !named_.empty(); }
  /// A regular file, which may not exist yet: it is replaced in one step. Anything else is written to directly.
  bool isFile() const { return given() && !stream_; }
  /// The file itself, where links end; a pipe or device as it was named.
  const std::filesystem::path& path() const { return path_; }
  /// Of the process itself (`/dev/stdout`, `/dev/fd/3`), -1 if it is none.
  int descriptor() const { return descriptor_; }
  /// Error(usage) if the file is `input`, even under another name.
  void refuse(const std::filesystem::path& input) const;

 private:
  std::filesystem::path named_;
  std::filesystem::path path_;
  bool stream_ = false;
  int descriptor_ = -1;
};

/// A folder that nobody else can look into or plant anything in: for what the reader can't keep in memory, and for what
/// is not whole yet. Removed at the end; what a killed run left beside it is removed at the beginning.
class ScratchFolder {
 public:
  /// Beside the output, so that both have the same room; else where the system puts temporary files. Error(io) if it
  /// can't be made beside the output; elsewhere path() is empty then.
  explicit ScratchFolder(const OutputTarget& output);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  core::Descriptor lock_;
};

/// Makes the file at `target` by way of one in `scratch`, which `fill` is given the path of and makes; then it is
/// synced and renamed. What was at `target` stays as it was after a failure, and keeps its mode.
void makeFile(const std::filesystem::path& target, const std::filesystem::path& scratch,
              const std::function<void(const std::filesystem::path&)>& fill);

/// The way of a result to the output.
struct Delivery {
  const OutputTarget& target;
  std::filesystem::path scratch;
  Context& context;
  std::stop_token stop;
};

/// What `make` makes at the path it is given, to the output: for what must be whole before any of it is sent.
void deliverFile(const Delivery& to, const std::function<void(const std::filesystem::path&)>& make);
/// What `fill` writes, as it comes.
void deliverRows(const Delivery& to, const std::function<void(reader::Output&)>& fill);
void deliverText(const Delivery& to, const std::string& text);

/// Error(usage) where a file of this format (xlsx, parquet), which is no text, would go to a terminal.
void refuseBinaryAtTerminal(const std::string& format, const OutputTarget& target, const Context& context);

/// What is in the file at --output now, on standard error: `what`, its size, its name. Nothing where there is no file.
void tellWritten(const OutputTarget& target, const std::string& what, Context& context);

/// As wordOption(), but the ending of --output tells which word where `name` was not given. Error(usage) where the two
/// contradict each other, and for an ending that no word is for.
std::string formatFor(const ParsedOptions& options, std::string_view name, std::span<const std::string_view> words);

}  // namespace caiexport::cli
