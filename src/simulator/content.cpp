#include "simulator/content.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"

namespace caiexport::simulator {
namespace {

static_assert(std::endian::native == std::endian::little, "patternContent lays its words out as little endian");

class MemoryContent final : public Content {
 public:
  explicit MemoryContent(std::string bytes) : bytes_(std::move(bytes)) {}

  std::uint64_t sizeBytes() const override { return bytes_.size(); }

  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    if (!into.empty()) std::memcpy(into.data(), bytes_.data() + offset, into.size());
  }

 private:
  std::string bytes_;
};

/// The output function of SplitMix64: good enough to look random, and addressable.
std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

class PatternContent final : public Content {
 public:
  PatternContent(std::uint64_t seed, std::uint64_t sizeBytes) : seed_(mix(seed + 1)), sizeBytes_(sizeBytes) {}

  std::uint64_t sizeBytes() const override { return sizeBytes_; }

  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    std::size_t done = 0;
    while (done < into.size()) {
      const std::uint64_t position = offset + done;
      if (position % 8 == 0 && into.size() - done >= 8) {
        done += wholeWords(position / 8, into.subspan(done));
        continue;
      }
      const std::uint64_t word = wordAt(position / 8);
      const std::size_t skip = position % 8;
      const std::size_t length = std::min<std::size_t>(8 - skip, into.size() - done);
      std::memcpy(into.data() + done, reinterpret_cast<const std::byte*>(&word) + skip, length);
      done += length;
    }
  }

 private:
  std::uint64_t wordAt(std::uint64_t index) const { return mix(seed_ + index * 0x9e3779b97f4a7c15U); }

  /// The fast path: a tight loop that the compiler can unroll.
  std::size_t wholeWords(std::uint64_t firstWord, std::span<std::byte> into) const {
    const std::size_t words = into.size() / 8;
    for (std::size_t index = 0; index < words; ++index) {
      const std::uint64_t word = wordAt(firstWord + index);
      std::memcpy(into.data() + index * 8, &word, 8);
    }
    return words * 8;
  }

  std::uint64_t seed_;
  std::uint64_t sizeBytes_;
};

class FileContent final : public Content {
 public:
  explicit FileContent(std::filesystem::path path) : path_(std::move(path)) {
    struct stat status {};
    if (::stat(path_.c_str(), &status) != 0) core::throwIoError("open", path_, errno);
    sizeBytes_ = static_cast<std::uint64_t>(status.st_size);
  }

  std::uint64_t sizeBytes() const override { return sizeBytes_; }

  // Opened for each read: a world of thousands of files must not use up the descriptors of the process.
  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) core::throwIoError("open", path_, errno);
    std::size_t done = 0;
    ssize_t count = 1;
    while (done < into.size() && count > 0) {
      count = ::pread(descriptor, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
      done += count > 0 ? static_cast<std::size_t>(count) : 0;
    }
    const int reason = count < 0 ? errno : EIO;
    ::close(descriptor);
    if (done < into.size()) core::throwIoError("read", path_, reason);
  }

 private:
  std::filesystem::path path_;
  std::uint64_t sizeBytes_ = 0;
};

}  // namespace

ContentPtr memoryContent(std::string bytes) {
  return std::make_shared<MemoryContent>(std::move(bytes));
}

ContentPtr patternContent(std::uint64_t seed, std::uint64_t sizeBytes) {
  return std::make_shared<PatternContent>(seed, sizeBytes);
}

ContentPtr fileContent(const std::filesystem::path& path) {
  return std::make_shared<FileContent>(path);
}

std::uint64_t recordsInFile(std::uint64_t records, std::uint64_t files, std::uint64_t index) {
  return records / files + (index < records % files ? 1 : 0);
}

std::vector<DataFile> PatternSource::make(const DataRequest& request) {
  std::vector<DataFile> made;
  made.reserve(request.files);
  for (std::uint64_t index = 0; index < request.files; ++index) {
    made.push_back({.content = patternContent((request.seed << 32U) + index, fileBytes_),
                    .records = recordsInFile(request.records, request.files, index)});
  }
  return made;
}

}  // namespace caiexport::simulator
