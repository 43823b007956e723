#include "hash.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/transfer/downloader.h"

namespace caiexport::transfer {
namespace {

constexpr std::size_t kReadBytes = 256U << 10U;

void require(int result) {
  if (result != 1) throw core::Error(core::Category::internal, "cannot compute a SHA-256: the OpenSSL library refused");
}

std::string hex(std::span<const unsigned char> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

class ReadOnlyFile {
 public:
  explicit ReadOnlyFile(const std::filesystem::path& path) : path_(path) {
    do {
      descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    } while (descriptor_ < 0 && errno == EINTR);
    if (descriptor_ < 0) core::throwIoError("read", path, errno);
  }
  ~ReadOnlyFile() { ::close(descriptor_); }
  ReadOnlyFile(const ReadOnlyFile&) = delete;
  ReadOnlyFile& operator=(const ReadOnlyFile&) = delete;

  /// Nothing at the end of the file.
  std::span<const std::byte> read(std::span<std::byte> into) {
    while (true) {
      const ssize_t count = ::read(descriptor_, into.data(), into.size());
      if (count >= 0) return into.first(static_cast<std::size_t>(count));
      if (errno != EINTR) core::throwIoError("read", path_, errno);
    }
  }

 private:
  const std::filesystem::path& path_;
  int descriptor_ = -1;
};

template <class Take>
void readAll(const std::filesystem::path& path, const std::stop_token& stop, const Take& take) {
  ReadOnlyFile file(path);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(kReadBytes);
  while (true) {
    if (stop.stop_requested()) throw core::Interrupted();
    const auto data = file.read({buffer.get(), kReadBytes});
    if (data.empty()) return;
    take(data);
  }
}

constexpr std::uint64_t kWordBytes = 8;

/// Of the word with this number in the file. Odd, so that no change of a single word gets lost.
std::uint64_t weightOf(std::uint64_t word) {
  return (word * 0x9E3779B97F4A7C15U) | 1U;
}

/// Words are little-endian on every machine.
std::uint64_t wordAt(const std::byte* data) {
  std::uint64_t word = 0;
  std::memcpy(&word, data, kWordBytes);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

std::uint64_t byteAlone(std::uint64_t at, std::byte value) {
  return (std::uint64_t{std::to_integer<unsigned char>(value)} << (8 * (at % kWordBytes))) * weightOf(at / kWordBytes);
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  require(context_ ? EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) : 0);
}

Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> data) {
  require(EVP_DigestUpdate(context_.get(), data.data(), data.size()));
}

std::string Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  require(EVP_DigestFinal_ex(context_.get(), digest.data(), &length));
  return hex(std::span(digest).first(length));
}

std::string sha256OfFile(const std::filesystem::path& path, std::stop_token stop) {
  Sha256 hash;
  readAll(path, stop, [&](std::span<const std::byte> data) { hash.update(data); });
  return hash.finish();
}

ReadBack readBack(const std::filesystem::path& path, const std::stop_token& stop) {
  Sha256 hash;
  std::uint64_t offset = 0;
  std::uint64_t sum = 0;
  readAll(path, stop, [&](std::span<const std::byte> data) {
    hash.update(data);
    sum += contentSum(offset, data);
    offset += data.size();
  });
  return {.sha256 = hash.finish(), .sum = sum};
}

std::uint64_t contentSum(std::uint64_t offset, std::span<const std::byte> data) {
  std::uint64_t sum = 0;
  std::size_t at = 0;
  while (at < data.size() && (offset + at) % kWordBytes != 0) {
    sum += byteAlone(offset + at, data[at]);
    ++at;
  }
  std::uint64_t word = (offset + at) / kWordBytes;
  for (; data.size() - at >= kWordBytes; at += kWordBytes) sum += wordAt(&data[at]) * weightOf(word++);
  for (; at < data.size(); ++at) sum += byteAlone(offset + at, data[at]);
  return sum;
}

}  // namespace caiexport::transfer
