#include "unescape.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

namespace caiexport::core {
namespace {

/// What an escape stands for, and how long it is.
struct Meaning {
  std::size_t length = 0;
  std::string bytes;
};

std::optional<std::uint32_t> number(std::string_view digits, int base) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

/// The value of `count` hexadecimal digits at `at`.
std::optional<std::uint32_t> hex(std::string_view text, std::size_t at, std::size_t count) {
  if (text.size() < at + count) return std::nullopt;
  return number(text.substr(at, count), 16);
}

std::string utf8(std::uint32_t c) {
  const auto tail = [c](unsigned shift) { return static_cast<char>(0x80U | ((c >> shift) & 0x3FU)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0U | (c >> 6U)), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0U | (c >> 12U)), tail(6), tail(0)};
  return {static_cast<char>(0xF0U | ((c >> 18U) & 0x7U)), tail(12), tail(6), tail(0)};
}

std::optional<Meaning> ofPercent(std::string_view text) {
  if (text.size() > 1 && (text[1] == 'u' || text[1] == 'U')) {
    const auto c = hex(text, 2, 4);
    return c ? std::optional(Meaning{6, utf8(*c)}) : std::nullopt;
  }
  const auto byte = hex(text, 1, 2);
  return byte ? std::optional(Meaning{3, {static_cast<char>(*byte)}}) : std::nullopt;
}

std::optional<Meaning> ofUnicode(std::string_view text) {
  const auto first = hex(text, 2, 4);
  if (!first) return std::nullopt;
  if (*first >= 0xD800 && *first < 0xDC00 && text.substr(6).starts_with("\\u")) {
    const auto second = hex(text, 8, 4);
    if (second && *second >= 0xDC00 && *second < 0xE000) {
      return Meaning{12, utf8(0x10000 + ((*first - 0xD800) << 10U) + (*second - 0xDC00))};
    }
  }
  return Meaning{6, utf8(*first)};
}

std::optional<Meaning> ofBackslash(std::string_view text) {
  if (text.size() < 2) return std::nullopt;
  if (text[1] == 'u' || text[1] == 'U') {
    if (auto meaning = ofUnicode(text)) return meaning;
  }
  if (text[1] == 'x' || text[1] == 'X') {
    if (const auto byte = hex(text, 2, 2)) return Meaning{4, {static_cast<char>(*byte)}};
  }
  constexpr std::string_view kLetters = "nrtbf";
  constexpr std::string_view kControls = "\n\r\t\b\f";
  const std::size_t letter = kLetters.find(text[1]);
  return Meaning{2, {letter == std::string_view::npos ? text[1] : kControls[letter]}};
}

std::optional<Meaning> ofEntity(std::string_view text) {
  constexpr std::size_t kLongest = 12;
  const std::size_t end = text.substr(0, kLongest).find(';');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view name = text.substr(1, end - 1);
  static constexpr std::array<std::pair<std::string_view, char>, 5> kNames{
      {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}}};
  for (const auto& [known, c] : kNames) {
    if (name == known) return Meaning{end + 1, {c}};
  }
  if (!name.starts_with('#')) return std::nullopt;
  const bool isHex = name.starts_with("#x") || name.starts_with("#X");
  const auto c = number(name.substr(isHex ? 2 : 1), isHex ? 16 : 10);
  return c && *c <= 0x10FFFF ? std::optional(Meaning{end + 1, utf8(*c)}) : std::nullopt;
}

std::optional<Meaning> meaningOf(std::string_view text) {
  switch (text.front()) {
    case '%':
      return ofPercent(text);
    case '\\':
      return ofBackslash(text);
    case '&':
      return ofEntity(text);
    default:
      return std::nullopt;
  }
}

}  // namespace

bool unescape(Unescaped& level) {
  const std::string_view before = level.text;
  if (before.find_first_of("%\\&") == std::string_view::npos) return false;
  if (before.size() > std::numeric_limits<std::uint32_t>::max()) return false;
  Unescaped after;
  after.text.reserve(before.size());
  after.places.reserve(before.size());
  bool changed = false;
  const auto append = [&](std::string_view bytes, std::size_t at, bool together) {
    after.text.append(bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      after.places.push_back(static_cast<std::uint32_t>(level.placeOf(together ? at : at + i)));
    }
  };
  for (std::size_t at = 0; at < before.size();) {
    if (const std::optional<Meaning> meaning = meaningOf(before.substr(at))) {
      append(meaning->bytes, at, true);
      at += meaning->length;
      changed = true;
    } else {
      const std::size_t next = std::min(before.find_first_of("%\\&", at + 1), before.size());
      append(before.substr(at, next - at), at, false);
      at = next;
    }
  }
  if (changed) level = std::move(after);
  return changed;
}

}  // namespace caiexport::core
