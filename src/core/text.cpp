#include "caiexport/core/text.h"

#include <Poco/UUIDGenerator.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <span>

#include "caiexport/core/byte_set.h"
#include "caiexport/core/encoding.h"

namespace caiexport::core {
namespace {

constexpr std::string_view kEllipsis = "\u2026";

bool isDigit(char c) {
  return c >= '0' && c <= '9';
}

bool allDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), isDigit);
}

struct Unit {
  char letter;
  std::uint64_t size;
};

/// `number` times `unit`, rounded down; nothing if the number is malformed or the product needs more than 64 bits.
std::optional<std::uint64_t> parseScaled(std::string_view number, std::uint64_t unit) {
  const std::size_t point = number.find('.');
  const std::optional<std::uint64_t> whole = parseUnsigned(number.substr(0, point));
  if (!whole) return std::nullopt;
  std::uint64_t part = 0;
  if (point != std::string_view::npos) {
    const std::string_view decimals = number.substr(point + 1);
    if (!allDigits(decimals)) return std::nullopt;
    // From the last digit to the first: exact, because rounding down at each step equals rounding down once.
    for (auto digit = decimals.rbegin(); digit != decimals.rend(); ++digit) {
      part = (part + static_cast<std::uint64_t>(*digit - '0') * unit) / 10;
    }
  }
  if (*whole > (std::numeric_limits<std::uint64_t>::max() - part) / unit) return std::nullopt;
  return *whole * unit + part;
}

const Unit* findUnit(std::span<const Unit> units, char letter) {
  const auto found = std::find_if(units.begin(), units.end(), [letter](const Unit& u) { return u.letter == letter; });
  return found == units.end() ? nullptr : &*found;
}

/// Reads fixed-width fields from the front of a text.
class FieldReader {
 public:
  explicit FieldReader(std::string_view text) : rest_(text) {}

  bool number(std::size_t width, int least, int most, int& value) {
    if (rest_.size() < width || !allDigits(rest_.substr(0, width))) return false;
    std::from_chars(rest_.data(), rest_.data() + width, value);
    rest_.remove_prefix(width);
    return value >= least && value <= most;
  }

  bool oneOf(std::string_view allowed) {
    if (rest_.empty() || allowed.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }

  /// Digits after the decimal point, cut to milliseconds.
  bool milliseconds(int& value) {
    value = 0;
    std::size_t count = 0;
    for (; count < rest_.size() && isDigit(rest_[count]); ++count) {
      if (count < 3) value = value * 10 + (rest_[count] - '0');
    }
    for (std::size_t shown = count; shown < 3; ++shown) value *= 10;
    rest_.remove_prefix(count);
    return count > 0;
  }

  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  bool atEnd() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

std::optional<std::chrono::sys_days> parseDate(FieldReader& in) {
  int year = 0;
  int month = 0;
  int day = 0;
  const bool shaped = in.number(4, 0, 9999, year) && in.oneOf("-") && in.number(2, 1, 12, month) && in.oneOf("-") &&
                      in.number(2, 1, 31, day);
  if (!shaped) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date);
}

/// Time of day since midnight. A leap second (RFC 3339, 5.7) is the first instant of the next minute.
std::optional<Duration> parseTimeOfDay(FieldReader& in) {
  int hour = 0;
  int minute = 0;
  int second = 0;
  int milliseconds = 0;
  const bool shaped = in.number(2, 0, 23, hour) && in.oneOf(":") && in.number(2, 0, 59, minute) && in.oneOf(":") &&
                      in.number(2, 0, 60, second);
  if (!shaped) return std::nullopt;
  if (in.peek() == '.' && (!in.oneOf(".") || !in.milliseconds(milliseconds))) return std::nullopt;
  return std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second) +
         std::chrono::milliseconds(milliseconds);
}

std::optional<Duration> parseOffset(FieldReader& in) {
  if (in.oneOf("Zz")) return Duration::zero();
  const int sign = in.peek() == '-' ? -1 : 1;
  int hours = 0;
  int minutes = 0;
  if (!in.oneOf("+-") || !in.number(2, 0, 23, hours) || !in.oneOf(":") || !in.number(2, 0, 59, minutes)) {
    return std::nullopt;
  }
  return sign * (std::chrono::hours(hours) + std::chrono::minutes(minutes));
}

std::optional<TimePoint> parseDateTime(std::string_view text) {
  FieldReader in(text);
  const auto date = parseDate(in);
  if (!date) return std::nullopt;
  if (in.atEnd()) return TimePoint(*date);
  if (!in.oneOf("Tt ")) return std::nullopt;
  const auto timeOfDay = parseTimeOfDay(in);
  if (!timeOfDay) return std::nullopt;
  const auto offset = parseOffset(in);
  if (!offset || !in.atEnd()) return std::nullopt;
  return TimePoint(*date) + *timeOfDay - *offset;
}

std::string padded(std::uint64_t value, std::size_t width) {
  std::string digits = std::to_string(value);
  if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
  return digits;
}

std::uint64_t roundedQuotient(std::uint64_t value, std::uint64_t divisor) {
  return value / divisor + (value % divisor >= divisor - divisor / 2 ? 1 : 0);
}

}  // namespace

std::optional<Duration> parseDuration(std::string_view text) {
  static constexpr std::array<Unit, 4> kUnits{{{'s', 1'000}, {'m', 60'000}, {'h', 3'600'000}, {'d', 86'400'000}}};
  constexpr std::uint64_t kLongest = 36'525ULL * 86'400'000ULL;
  if (text.empty()) return std::nullopt;
  const bool small = text.ends_with("ms");
  const Unit* unit = small ? nullptr : findUnit(kUnits, text.back());
  text.remove_suffix(small ? 2 : unit ? 1 : 0);
  const auto milliseconds = parseScaled(text, small ? 1 : unit ? unit->size : 1'000);
  if (!milliseconds || *milliseconds > kLongest) return std::nullopt;
  return Duration(static_cast<Duration::rep>(*milliseconds));
}

std::optional<TimePoint> parseTime(std::string_view text, TimePoint now) {
  if (const auto before = parseDuration(text)) return now - *before;
  return parseDateTime(text);
}

std::string formatTime(TimePoint time) {
  const auto date = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day ymd(date);
  const std::chrono::hh_mm_ss clock(time - date);
  const int year = static_cast<int>(ymd.year());
  const auto count = [](auto duration) { return static_cast<int>(duration.count()); };
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%s%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", year < 0 ? "-" : "", std::abs(year),
                static_cast<unsigned>(ymd.month()), static_cast<unsigned>(ymd.day()), count(clock.hours()),
                count(clock.minutes()), count(clock.seconds()), count(clock.subseconds()));
  return text.data();
}

std::optional<std::uint64_t> parseBytes(std::string_view text) {
  static constexpr std::array<Unit, 8> kUnits{{{'K', 1ULL << 10U},
                                               {'M', 1ULL << 20U},
                                               {'G', 1ULL << 30U},
                                               {'T', 1ULL << 40U},
                                               {'k', 1ULL << 10U},
                                               {'m', 1ULL << 20U},
                                               {'g', 1ULL << 30U},
                                               {'t', 1ULL << 40U}}};
  if (text.empty()) return std::nullopt;
  const Unit* unit = findUnit(kUnits, text.back());
  if (!unit) return parseUnsigned(text);
  text.remove_suffix(1);
  return parseScaled(text, unit->size);
}

std::string formatBytes(std::uint64_t bytes) {
  static constexpr std::array<std::string_view, 6> kNames{" kB", " MB", " GB", " TB", " PB", " EB"};
  if (bytes < 1000) return std::to_string(bytes) + " B";
  std::uint64_t unit = 1000;
  std::size_t name = 0;
  // 999.5 of a unit would be shown as 1000: that is 1.00 of the next.
  while (name + 1 < kNames.size() && bytes >= unit * 1000 - unit / 2) {
    unit *= 1000;
    ++name;
  }
  // Hundredths, tenths or whole units, whichever makes three digits after rounding.
  for (std::uint64_t parts = 100; parts > 1; parts /= 10) {
    const std::uint64_t shown = roundedQuotient(bytes, unit / parts);
    if (shown >= 1000) continue;
    const std::size_t decimals = parts == 100 ? 2 : 1;
    return std::to_string(shown / parts) + '.' + padded(shown % parts, decimals) + std::string(kNames[name]);
  }
  return std::to_string(roundedQuotient(bytes, unit)) + std::string(kNames[name]);
}

std::string formatDuration(Duration duration) {
  if (duration < Duration::zero()) return "-" + formatDuration(Duration(-std::max(duration, -Duration::max()).count()));
  const auto milliseconds = static_cast<std::uint64_t>(duration.count());
  const std::uint64_t tenths = roundedQuotient(milliseconds, 100);
  if (tenths < 600) return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + " s";
  const std::uint64_t seconds = roundedQuotient(milliseconds, 1000);
  if (seconds < 3600) return std::to_string(seconds / 60) + "m " + padded(seconds % 60, 2) + 's';
  const std::uint64_t minutes = roundedQuotient(milliseconds, 60'000);
  if (minutes < 1440) return std::to_string(minutes / 60) + "h " + padded(minutes % 60, 2) + 'm';
  const std::uint64_t hours = roundedQuotient(milliseconds, 3'600'000);
  return std::to_string(hours / 24) + "d " + padded(hours % 24, 2) + 'h';
}

std::size_t decodeUtf8(std::string_view text, char32_t& codePoint) {
  if (text.empty()) return 0;
  const auto byteAt = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byteAt(0);
  if (lead < 0x80) {
    codePoint = lead;
    return 1;
  }
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < length) return 0;
  codePoint = lead & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byteAt(i) & 0xC0U) != 0x80) return 0;
    codePoint = (codePoint << 6U) | (byteAt(i) & 0x3FU);
  }
  constexpr std::array<char32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = codePoint >= 0xD800 && codePoint <= 0xDFFF;
  return codePoint < kSmallest[length] || surrogate || codePoint > 0x10FFFF ? 0 : length;
}

bool mayBeShown(char32_t c) {
  const bool control = c < 0x20 || (c >= 0x7F && c <= 0x9F);
  const bool breaksLine = c == 0x2028 || c == 0x2029;
  const bool turns =
      c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
  // Joiners (U+200C, U+200D) belong to ordinary words of some languages.
  const bool unseen = c == 0x200B || (c >= 0x2060 && c <= 0x2064) || (c >= 0x206A && c <= 0x206F) || c == 0xFEFF ||
                      (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE007F);
  return !control && !breaksLine && !turns && !unseen;
}

std::string printable(std::string_view text, std::size_t longest) {
  // Nearly always, and at once.
  if (text.size() <= longest && kPlainAscii.hasAll(text)) return std::string(text);
  std::string out;
  std::size_t shown = 0;
  while (!text.empty()) {
    char32_t codePoint = 0;
    const std::size_t valid = decodeUtf8(text, codePoint);
    const bool plain = valid > 0 && mayBeShown(codePoint);
    const std::size_t taken = std::max<std::size_t>(valid, 1);
    const std::size_t characters = plain ? 1 : 4 * taken;
    if (shown + characters > longest) return out += kEllipsis;
    for (const char byte : text.substr(0, taken)) {
      if (plain) {
        out += byte;
      } else {
        out += "\\x";
        appendHex(out, {&byte, 1});
      }
    }
    shown += characters;
    text.remove_prefix(taken);
  }
  return out;
}

std::string percentEncode(std::string_view text) {
  std::string out;
  appendPercentEncoded(out, text);
  return out;
}

std::vector<std::string> splitList(std::string_view text) {
  std::vector<std::string> pieces;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (const std::string_view piece = trim(text.substr(0, comma)); !piece.empty()) pieces.emplace_back(piece);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return pieces;
}

std::string toLower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view trim(std::string_view text) {
  const auto isBlank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && isBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && isBlank(text.back())) text.remove_suffix(1);
  return text;
}

std::string newUuid() {
  return Poco::UUIDGenerator::defaultGenerator().createRandom().toString();
}

}  // namespace caiexport::core
