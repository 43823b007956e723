#pragma once
/// Text as a reader would understand it who knows every kind of escape, and where each byte of it came from.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace caiexport::core {

struct Unescaped {
  std::string text;
  std::vector<std::uint32_t> places;  ///< Of each byte, in the text as it was at first; empty: unchanged yet.

  std::size_t placeOf(std::size_t byte) const { return places.empty() ? byte : places[byte]; }
  /// For an end: past the last byte it is `end`.
  std::size_t placeOf(std::size_t byte, std::size_t end) const { return byte < text.size() ? placeOf(byte) : end; }
};

/// Takes one layer of escapes off: `%41`, `%u0041`, `\u0041` (and pairs of them), `\x41`, `\/`, `\n`, `&#65;`,
/// `&#x41;`,
/// `&amp;` and its like. False if there was none. What is no such escape stays as it is.
bool unescape(Unescaped& level);

}  // namespace caiexport::core
