#pragma once
/// Text to values and back: durations, times, sizes, printable text.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include "caiexport/core/clock.h"

namespace caiexport::core {

/// One number, with decimals or without, and one unit: `45s`, `10m`, `1.5h`, `7d`. Without a unit it is seconds. Cut to
/// milliseconds. Nothing for anything else (`1m30s`, a sign, blanks) or for more than 100 years.
std::optional<Duration> parseDuration(std::string_view text);

/// RFC 3339 with any offset, a date (00:00 UTC), or a duration (that long before `now`). Cut to milliseconds.
std::optional<TimePoint> parseTime(std::string_view text, TimePoint now);

/// `2026-11-24T10:00:00.000Z`.
std::string formatTime(TimePoint time);

/// A count of bytes: `1000`, or a number, with decimals or without, and K, M, G or T in either case (powers of 1024),
/// e.g. `50M`, `1.5G`; rounded down. Nothing for anything else or for more than 64 bits.
std::optional<std::uint64_t> parseBytes(std::string_view text);

/// `16.2 MB` (powers of 1000, three significant digits), for people.
std::string formatBytes(std::uint64_t bytes);

/// `1m 23s`, `4.2 s`, `2h 05m`, for people.
std::string formatDuration(Duration duration);

/// Length of the valid UTF-8 sequence at the front of `text`, and its code point; 0 if there is none (The Unicode
/// Standard, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF).
std::size_t decodeUtf8(std::string_view text, char32_t& codePoint);

/// False for control characters, DEL, C1 controls, line separators, and for marks that turn the direction of writing or
/// are not seen at all: they can make one name look like another.
bool mayBeShown(char32_t codePoint);

/// Safe to show on a terminal, in one line: what may not be shown and invalid UTF-8 are written as `\xNN`. Cut with an
/// ellipsis where more than `longest` characters would be shown (`\xNN` counts as four and is never split).
std::string printable(std::string_view text, std::size_t longest = 2000);

/// RFC 3986: everything but unreserved characters becomes %XX.
std::string percentEncode(std::string_view text);

/// Splits at commas, trims blanks, drops empty pieces.
std::vector<std::string> splitList(std::string_view text);

/// The texts of the pieces, with `between` between them.
template <class Pieces, class Text = std::identity>
std::string joined(const Pieces& pieces, std::string_view between, const Text& text = {}) {
  std::string all;
  for (const auto& piece : pieces)
    all.append(all.empty() ? std::string_view() : between).append(std::invoke(text, piece));
  return all;
}

/// Lower-case ASCII letters; other bytes unchanged.
std::string toLower(std::string_view text);

/// Without blanks and tabs at both ends.
std::string_view trim(std::string_view text);

/// A random (version 4) UUID in lower case.
std::string newUuid();

// --- Numbers as text, and texts that are numbers as a whole.

/// `1,234,567`, for people.
inline std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

/// With that many digits after the point.
inline std::string fixed(double value, int places) {
  std::array<char, 64> buffer{};
  const auto result =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, places);
  // Only values beyond 10^50 do not fit.
  if (result.ec != std::errc{}) {
    return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr};
  }
  return {buffer.data(), result.ptr};
}

/// Nothing if the text is not such a number to its end, or one that does not fit. No blanks, no plus; a minus for
/// signed types alone.
template <class Number>
std::optional<Number> numberFrom(std::string_view text, [[maybe_unused]] int base = 10) {
  Number value{};
  std::from_chars_result read{};
  if constexpr (std::is_floating_point_v<Number>) {
    read = std::from_chars(text.data(), text.data() + text.size(), value);
  } else {
    read = std::from_chars(text.data(), text.data() + text.size(), value, base);
  }
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Digits only, the whole text, within 64 bits.
inline std::optional<std::uint64_t> parseUnsigned(std::string_view text) {
  return numberFrom<std::uint64_t>(text);
}

/// Whether spreadsheets run such a cell; some also take the wide forms of these characters. `-1.5e3` is harmless, and
/// of use as it is; `-nan(1)` calls a function.
inline bool runsInSpreadsheets(std::string_view text) {
  if (text.empty()) return false;
  // Nearly always, and at once.
  const char first = text[0];
  if ((first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') || (first >= '0' && first <= '9')) return false;
  if (first == '\t' || first == '\r' || first == '\n') return true;
  const std::string_view seen = text.substr(std::min(text.find_first_not_of(' '), text.size()));
  for (const std::string_view start : {"=", "+", "-", "@", "\uFF1D", "\uFF0B", "\uFF0D", "\uFF20"}) {
    if (!seen.starts_with(start)) continue;
    const std::string_view number = text.starts_with('+') ? text.substr(1) : text;
    return !numberFrom<double>(number) || number.find_first_of("iInN") != number.npos;
  }
  return false;
}

}  // namespace caiexport::core
