#include "file_names.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

constexpr std::string_view kPatternLetters = "*?[";
constexpr std::string_view kMagic = "PAR1";
constexpr std::string_view kEncryptedMagic = "PARE";
/// Both magic numbers and the length of the footer.
constexpr std::uint64_t kSmallestBytes = 12;

std::string escaped(std::string_view path) {
  std::string pattern;
  for (const char letter : path) {
    if (kPatternLetters.find(letter) == std::string_view::npos) {
      pattern += letter;
    } else {
      pattern += '[';
      pattern += letter;
      pattern += ']';
    }
  }
  return pattern;
}

[[noreturn]] void throwBroken(const fs::path& path, const std::string& reason) {
  throw Error(Category::verification, core::printable(path.string()) + " is not a readable Parquet file: " + reason,
              {.hint = "fetch it again: remove the file and resume its job"});
}

std::string descriptorName(int descriptor) {
  return "/dev/fd/" + std::to_string(descriptor);
}

int openFile(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) core::throwIoError("read", path, errno);
  return descriptor;
}

std::string readAt(std::ifstream& file, std::uint64_t offset, std::size_t count) {
  std::string bytes(count, '\0');
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

}  // namespace

fs::path readableFile(const fs::path& path) {
  std::error_code failure;
  fs::path found = fs::canonical(path, failure);
  if (failure) core::throwIoError("read", path, failure.value());
  if (!fs::is_regular_file(found, failure)) {
    throw Error(Category::io, "cannot read " + core::printable(path.string()) + ": it is not a regular file");
  }
  if (access(found.c_str(), R_OK) != 0) core::throwIoError("read", path, errno);
  return found;
}

FileName::FileName(const fs::path& path) : path_(readableFile(path)) {
  literal_ = path_.string();
  pattern_ = escaped(literal_);
  if (pattern_ == literal_ || literal_.find('\\') == std::string::npos) return;
  descriptor_ = openFile(path_);
  literal_ = descriptorName(descriptor_);
  pattern_ = literal_;
}

FileName::~FileName() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileName::FileName(FileName&& other) noexcept
    : path_(std::move(other.path_)),
      pattern_(std::move(other.pattern_)),
      literal_(std::move(other.literal_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

std::vector<std::string> FileName::allowed() const {
  if (pattern_ == literal_) return {literal_};
  return {literal_, pattern_};
}

FileWindow::FileWindow() : descriptor_(openFile("/dev/null")), name_(descriptorName(descriptor_)) {}

FileWindow::~FileWindow() {
  ::close(descriptor_);
}

void FileWindow::show(const fs::path& path) {
  const int file = openFile(path);
  const int shown = ::dup2(file, descriptor_);
  const int errorNumber = errno;
  ::close(file);
  if (shown < 0) core::throwIoError("read", path, errorNumber);
  ::fcntl(descriptor_, F_SETFD, FD_CLOEXEC);
}

void FileWindow::clear() {
  show("/dev/null");
}

std::uint64_t checkFrame(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code failure;
  const std::uint64_t bytes = fs::file_size(path, failure);
  if (!file || failure) core::throwIoError("read", path, failure ? failure.value() : errno);
  if (bytes == 0) throwBroken(path, "it is empty");
  if (bytes < kSmallestBytes) throwBroken(path, "it has " + std::to_string(bytes) + " bytes, fewer than any such file");
  if (readAt(file, 0, kMagic.size()) != kMagic) throwBroken(path, "it does not begin with PAR1");
  const std::string tail = readAt(file, bytes - 8, 8);
  if (!tail.ends_with(kMagic)) {
    throwBroken(path, tail.ends_with(kEncryptedMagic) ? "its footer is encrypted"
                                                      : "it does not end with PAR1, so its end is missing or damaged");
  }
  std::uint64_t footerBytes = 0;
  for (int index = 3; index >= 0; --index) {
    footerBytes = footerBytes << 8U | static_cast<unsigned char>(tail[static_cast<std::size_t>(index)]);
  }
  if (footerBytes == 0 || footerBytes > bytes - kSmallestBytes) {
    throwBroken(path, "its footer claims " + std::to_string(footerBytes) + " bytes of " + std::to_string(bytes));
  }
  return bytes;
}

}  // namespace caiexport::reader
