#include "output_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "caiexport/cli/options.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/clock.h"
#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "cli/config/settings.h"

namespace caiexport::cli {

namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

constexpr std::string_view kScratchName = "caiexport-";

fs::path folderOf(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

/// `/dev/fd/3` and `/proc/self/fd/3`, which links such as `/dev/stdout` lead to.
std::optional<int> descriptorNamed(const fs::path& path) {
  const fs::path folder = path.parent_path();
  const std::string own = "/proc/" + std::to_string(::getpid()) + "/fd";
  if (folder != "/dev/fd" && folder != "/proc/self/fd" && folder != own) return std::nullopt;
  const auto number = core::parseUnsigned(path.filename().string());
  if (!number || *number > 1U << 20U) return std::nullopt;
  return static_cast<int>(*number);
}

/// Where the links at `path` end, whether something is there or not; a descriptor of this process ends them too.
fs::path endOfLinks(fs::path path) {
  constexpr int kMost = 40;  // as the kernel
  for (int count = 0; count < kMost; ++count) {
    std::error_code error;
    const fs::path folder = fs::canonical(folderOf(path), error);
    if (!error) path = folder / path.filename();
    if (descriptorNamed(path) || !fs::is_symlink(path, error)) return path;
    path = folderOf(path) / fs::read_symlink(path, error);
    path = path.lexically_normal();
  }
  core::throwIoError("write", path, ELOOP);
}

/// Rows into a pipe, FIFO or device.
class DescriptorOutput final : public reader::Output {
 public:
  DescriptorOutput(const OutputTarget& target, std::stop_token stop)
      : path_(target.path()),
        stop_(std::move(stop)),
        descriptor_(target.descriptor() >= 0 ? ::fcntl(target.descriptor(), F_DUPFD_CLOEXEC, 3) : opened()) {
    if (!descriptor_.valid()) core::throwIoError("write", path_, errno);
  }

  bool terminal() const { return ::isatty(descriptor_.number()) == 1; }

  bool write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      awaitRoom();
      const ssize_t written = ::write(descriptor_.number(), bytes.data(), bytes.size());
      if (written >= 0) {
        bytes = bytes.subspan(static_cast<std::size_t>(written));
      } else if (errno == EPIPE) {
        return false;
      } else if (errno != EINTR && errno != EAGAIN) {
        core::throwIoError("write", path_, errno);
      }
    }
    return true;
  }

 private:
  static constexpr int kLookMilliseconds = 100;

  /// A FIFO that nobody reads yet is waited for, but not past a stop.
  int opened() const {
    for (;;) {
      const int descriptor = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
      if (descriptor >= 0 || errno != ENXIO || !fs::is_fifo(path_)) return descriptor;
      if (!core::systemClock().sleep(std::chrono::milliseconds(kLookMilliseconds), stop_)) throw core::Interrupted();
    }
  }

  void awaitRoom() const {
    pollfd waiting{.fd = descriptor_.number(), .events = POLLOUT, .revents = 0};
    while (::poll(&waiting, 1, kLookMilliseconds) == 0) {
      if (stop_.stop_requested()) throw core::Interrupted();
    }
  }

  fs::path path_;
  std::stop_token stop_;
  core::Descriptor descriptor_;
};

/// Rows to a file of our own.
class FileOutput final : public reader::Output {
 public:
  explicit FileOutput(const fs::path& path) : file_(core::diskFileSystem().open(path)) {}
  bool write(std::span<const std::byte> bytes) override {
    file_->writeAt(written_, bytes);
    written_ += bytes.size();
    return true;
  }

 private:
  std::unique_ptr<core::WritableFile> file_;
  std::uint64_t written_ = 0;
};

class StreamOutput final : public reader::Output {
 public:
  explicit StreamOutput(StandardOutput& out) : out_(out) {}
  bool write(std::span<const std::byte> bytes) override {
    return out_.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

 private:
  StandardOutput& out_;
};

void copyTo(const fs::path& file, reader::Output& out) {
  constexpr std::size_t kPiece = 1U << 20U;
  const auto in = core::diskFileSystem().open(file);
  std::vector<std::byte> buffer(kPiece);
  for (std::uint64_t offset = 0;;) {
    const std::size_t got = in->readAt(offset, buffer);
    offset += got;
    if (got == 0 || !out.write(std::span(buffer).first(got))) return;
  }
}

void toStream(const Delivery& to, const std::function<void(reader::Output&)>& fill) {
  const auto fillFor = [&](reader::Output& out, bool terminal) {
    reader::PrintableOutput printable(out);
    fill(terminal ? static_cast<reader::Output&>(printable) : out);
  };
  if (to.target.given()) {
    DescriptorOutput out(to.target, to.stop);
    fillFor(out, out.terminal());
  } else {
    StreamOutput out(to.context.out);
    fillFor(out, to.context.out.terminal());
  }
}

/// The process that made a folder of this name; nothing if it is no such name.
std::optional<pid_t> makerOf(std::string name) {
  constexpr std::size_t kRandomLetters = 6;
  if (name.starts_with('.')) name.erase(0, 1);
  if (!name.starts_with(kScratchName)) return std::nullopt;
  const std::size_t dash = name.find('-', kScratchName.size());
  if (dash == name.npos || name.size() - dash - 1 != kRandomLetters) return std::nullopt;
  const auto number = core::parseUnsigned(name.substr(kScratchName.size(), dash - kScratchName.size()));
  if (!number || *number == 0 || *number > 1U << 30U) return std::nullopt;
  return static_cast<pid_t>(*number);
}

/// Whether the run that made the folder is over. Its lock tells, but for the moment before it was taken: then the
/// process must be gone, or the folder old.
bool isLeftover(int folder, pid_t maker) {
  constexpr std::int64_t kSecondsUntilLocked = 60;
  struct stat status {};
  if (::fstat(folder, &status) != 0 || status.st_uid != ::geteuid() || (status.st_mode & 077U) != 0) return false;
  if (::flock(folder, LOCK_EX | LOCK_NB) != 0) return false;
  const bool gone = ::kill(maker, 0) != 0 && errno == ESRCH;
  return gone || ::time(nullptr) - status.st_mtime > kSecondsUntilLocked;
}

void removeLeftovers(const fs::path& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const auto maker = makerOf(entry.path().filename().string());
    if (!maker || *maker == ::getpid()) continue;
    const core::Descriptor descriptor(::open(entry.path().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!descriptor.valid()) continue;
    std::error_code ignored;
    if (isLeftover(descriptor.number(), *maker)) fs::remove_all(entry.path(), ignored);
  }
}

struct Ending {
  std::string_view ending;
  std::string_view word;  ///< Empty: nothing is written so.
};

constexpr std::array<Ending, 16> kEndings{{
    {".csv", "csv"},
    {".jsonl", "jsonl"},
    {".ndjson", "jsonl"},
    {".json", "json"},
    {".parquet", "parquet"},
    {".html", "html"},
    {".htm", "html"},
    {".tsv", ""},
    {".xlsx", "xlsx"},
    {".xls", ""},
    {".gz", ""},
    {".zip", ""},
    {".zst", ""},
    {".bz2", ""},
    {".xz", ""},
    {".avro", ""},
}};

/// Nothing for an ending that promises no format.
std::optional<std::string_view> promisedBy(const std::string& output) {
  const std::string ending = core::toLower(std::filesystem::path(output).extension().string());
  const auto found = std::ranges::find(kEndings, ending, &Ending::ending);
  if (found == kEndings.end()) return std::nullopt;
  return found->word;
}

}  // namespace

OutputTarget::OutputTarget(const ParsedOptions& options)
    : OutputTarget(pathFrom(options.value("output").value_or(""), "--output", processEnvironment())) {
  if (options.value("output") && named_.empty()) {
    throwUsage("--output: the name of a file is missing");
  }
}

OutputTarget::OutputTarget(const fs::path& path) : named_(path) {
  if (named_.empty()) return;
  std::error_code ignored;
  const fs::file_status status = fs::status(named_, ignored);
  if (!named_.has_filename() || fs::is_directory(status)) {
    throwUsage("--output: '" + core::printable(named_.string(), 200) + "' is a folder, not the name of a file");
  }
  path_ = endOfLinks(named_);
  if (const auto number = descriptorNamed(path_)) {
    descriptor_ = *number;
    stream_ = true;
  } else {
    stream_ = fs::exists(status) && !fs::is_regular_file(status);
  }
}

void OutputTarget::refuse(const fs::path& input) const {
  struct stat output {};
  struct stat other {};
  const bool there = descriptor_ >= 0 ? ::fstat(descriptor_, &output) == 0 : ::stat(path_.c_str(), &output) == 0;
  if (!given() || !there || ::stat(input.c_str(), &other) != 0) return;
  if (output.st_dev != other.st_dev || output.st_ino != other.st_ino || !S_ISREG(output.st_mode)) return;
  throwUsage("--output: '" + core::printable(named_.string(), 200) + "' is one of the files that are read" +
                 (input == named_ ? "" : ", " + core::printable(input.string(), 200)),
             "write into another file");
}

ScratchFolder::ScratchFolder(const OutputTarget& output) {
  std::error_code error;
  const fs::path folder = output.isFile() ? folderOf(output.path()) : fs::temp_directory_path(error);
  // Without a folder for temporary files the reader puts nothing on disk.
  if (error) return;
  removeLeftovers(folder);
  std::string name =
      (folder / ((output.isFile() ? "." : "") + std::string(kScratchName) + std::to_string(::getpid()) + "-XXXXXX"))
          .string();
  if (::mkdtemp(name.data()) == nullptr) {
    if (output.isFile()) core::throwIoError("write", output.path(), errno);
    return;
  }
  path_ = name;
  lock_ = core::Descriptor(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (lock_.valid()) static_cast<void>(::flock(lock_.number(), LOCK_EX | LOCK_NB));
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

void makeFile(const fs::path& target, const fs::path& scratch, const std::function<void(const fs::path&)>& fill) {
  core::FileSystem& files = core::diskFileSystem();
  const fs::path part = scratch / "output.part";
  try {
    fill(part);
    struct stat before {};
    if (::stat(target.c_str(), &before) == 0 && ::chmod(part.c_str(), before.st_mode & 07777U) != 0) {
      core::throwIoError("set the mode of", part, errno);
    }
    files.open(part)->sync();
    files.rename(part, target);
  } catch (...) {
    std::error_code ignored;
    fs::remove(part, ignored);
    throw;
  }
  files.syncDirectory(folderOf(target));
}

void deliverFile(const Delivery& to, const std::function<void(const fs::path&)>& make) {
  if (to.target.isFile()) return makeFile(to.target.path(), to.scratch, make);
  if (to.scratch.empty()) {
    throw Error(Category::io, "there is no folder for temporary files",
                {.hint = "set TMPDIR to a folder that can be written, or name a file with --output"});
  }
  const fs::path file = to.scratch / "output.part";
  make(file);
  toStream(to, [&](reader::Output& out) { copyTo(file, out); });
}

void deliverRows(const Delivery& to, const std::function<void(reader::Output&)>& fill) {
  if (!to.target.isFile()) return toStream(to, fill);
  makeFile(to.target.path(), to.scratch, [&](const fs::path& part) {
    FileOutput out(part);
    fill(out);
  });
}

void deliverText(const Delivery& to, const std::string& text) {
  // At a terminal this is text of ours with colours or bars in it, so it goes as it is.
  if (!to.target.given()) return void(to.context.out.write(text));
  deliverRows(to, [&](reader::Output& out) { out.write(std::as_bytes(std::span(text))); });
}

void refuseBinaryAtTerminal(const std::string& format, const OutputTarget& target, const Context& context) {
  if (target.given() || !context.out.terminal()) return;
  if (format != "xlsx" && format != "parquet") return;
  throwUsage((format == "parquet" ? "Parquet" : format) + " is binary and cannot be printed on a terminal",
             "name a file with --output");
}

void tellWritten(const OutputTarget& target, const std::string& what, Context& context) {
  if (!target.isFile()) return;
  std::error_code ignored;
  const std::uintmax_t bytes = fs::file_size(target.path(), ignored);
  if (ignored) return;
  context.console.notice("caiexport: wrote " + what + " (" + core::formatBytes(bytes) + ") to " +
                         core::printable(target.path().string()));
}

std::string formatFor(const ParsedOptions& options, std::string_view name, std::span<const std::string_view> words) {
  std::string given = wordOption(options, name, words);
  const auto output = options.value("output");
  const auto promised = output ? promisedBy(*output) : std::nullopt;
  if (!promised || given == *promised) return given;
  const bool possible = std::ranges::find(words, *promised) != words.end();
  if (!options.has(name) && possible) return std::string(*promised);
  // Lines of JSON in a file.json are what many tools expect.
  if (options.has(name) && given == "jsonl" && *promised == "json") return given;
  const std::string file = "--output '" + core::printable(*output, 200) + "'";
  if (options.has(name)) throwUsage(file + " and " + "--" + std::string(name) + " " + given + " contradict each other");
  throwUsage(file + " has the ending of a format that this command cannot write",
             "the formats are " + core::joined(words, ", ") + "; " + "--" + std::string(name) +
                 " chooses one, under a name with another ending");
}

}  // namespace caiexport::cli
