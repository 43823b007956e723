#include "parquet_frame.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "PAR1";
constexpr std::string_view kEncryptedMagic = "PARE";
/// What is read of a file's end at first.
constexpr std::uint64_t kEndBytes = 64U << 10U;
/// With the magic number in front.
constexpr std::uint64_t kSmallestBytes = 12;

std::string readAt(const core::Descriptor& file, const fs::path& path, std::uint64_t offset, std::size_t count) {
  std::string bytes(count, '\0');
  std::size_t got = 0;
  while (got < count) {
    const ssize_t read = ::pread(file.number(), bytes.data() + got, count - got, static_cast<off_t>(offset + got));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) core::throwIoError("read", path, errno);
    if (read == 0) break;
    got += static_cast<std::size_t>(read);
  }
  bytes.resize(got);
  return bytes;
}

}  // namespace

fs::path readableFile(const fs::path& path) {
  std::error_code failure;
  fs::path found = fs::canonical(path, failure);
  if (failure) core::throwIoError("read", path, failure.value());
  if (!fs::is_regular_file(found, failure)) {
    throw core::Error(core::Category::io,
                      "cannot read " + core::printable(path.string()) + ": it is not a regular file");
  }
  if (access(found.c_str(), R_OK) != 0) core::throwIoError("read", path, errno);
  return found;
}

core::Descriptor openToRead(const fs::path& path) {
  core::Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!descriptor.valid()) core::throwIoError("read", path, errno);
  return descriptor;
}

Frame readFrame(const fs::path& path) {
  const core::Descriptor file = openToRead(path);
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) core::throwIoError("read", path, errno);
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  if (bytes == 0) throwBroken(path, "it is empty");
  if (bytes < kSmallestBytes) throwBroken(path, "it has " + std::to_string(bytes) + " bytes, fewer than any such file");
  if (readAt(file, path, 0, kMagic.size()) != kMagic) throwBroken(path, "it does not begin with PAR1");
  // Most footers are in it, so that there is nothing more to read.
  const std::uint64_t endBytes = std::min(bytes, kEndBytes);
  std::string end = readAt(file, path, bytes - endBytes, endBytes);
  if (!end.ends_with(kMagic)) {
    throwBroken(path, end.ends_with(kEncryptedMagic) ? "its footer is encrypted"
                                                     : "it does not end with PAR1, so its end is missing or damaged");
  }
  const std::uint64_t footerBytes = footerLength(std::string_view(end).substr(end.size() - kTailBytes));
  if (footerBytes == 0 || footerBytes > bytes - kSmallestBytes) {
    throwBroken(path, "its footer claims " + std::to_string(footerBytes) + " bytes of " + std::to_string(bytes));
  }
  if (footerBytes + kTailBytes > end.size()) {
    end = readAt(file, path, bytes - kTailBytes - footerBytes, footerBytes);
  } else {
    end = end.substr(end.size() - kTailBytes - footerBytes, footerBytes);
  }
  return {.bytes = bytes, .footer = std::move(end)};
}

std::uint64_t footerLength(std::string_view tail) {
  std::uint64_t length = 0;
  for (std::size_t index = 4; index-- > 0;) length = length << 8U | static_cast<unsigned char>(tail[index]);
  return length;
}

void throwBroken(const fs::path& path, const std::string& reason) {
  throw core::Error(core::Category::verification,
                    core::printable(path.string()) + " is not a readable Parquet file: " + reason,
                    {.hint = "fetch it again: remove the file and resume its job"});
}

}  // namespace caiexport::reader
