#pragma once
/// Numbers of fixed width, for ids.

#include <charconv>
#include <cstdint>
#include <string>

namespace caiexport::simulator {

inline std::string padded(std::uint64_t number, std::size_t width, int base = 10) {
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, number, base).ptr;
  const std::string text(digits, end);
  return std::string(width > text.size() ? width - text.size() : 0, '0') + text;
}

inline std::string paddedHex(std::uint64_t number, std::size_t width) {
  return padded(number, width, 16);
}

}  // namespace caiexport::simulator
