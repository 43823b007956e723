#pragma once
/// Sets of bytes, for texts that are looked at byte by byte.

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace caiexport::core {

/// The bytes that pass a test. To look one up costs less than most tests.
class ByteSet {
 public:
  template <class Test>
  explicit constexpr ByteSet(const Test& test) {
    for (std::size_t byte = 0; byte < has_.size(); ++byte) has_[byte] = test(static_cast<char>(byte));
  }

  constexpr bool has(char byte) const { return has_[static_cast<unsigned char>(byte)]; }
  bool hasAll(std::string_view text) const { return lengthIn(text) == text.size(); }
  /// How many bytes at the front of `text` are in the set.
  std::size_t lengthIn(std::string_view text) const {
    // Not std::ranges: of that one libstdc++ does not unroll the loop.
    const auto other = std::find_if_not(text.begin(), text.end(), [this](char byte) { return has(byte); });
    return static_cast<std::size_t>(other - text.begin());
  }

 private:
  std::array<bool, 256> has_{};
};

/// What can be shown everywhere as it is: blanks and visible characters.
inline constexpr ByteSet kPlainAscii([](char c) { return c >= ' ' && c <= '~'; });

}  // namespace caiexport::core
