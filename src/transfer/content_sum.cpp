#include "content_sum.h"

#include <bit>
#include <cstring>

namespace caiexport::transfer {
namespace {

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
