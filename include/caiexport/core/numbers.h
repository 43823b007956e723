#pragma once
/// Numbers as text, and texts that are numbers as a whole.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace caiexport::core {

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
