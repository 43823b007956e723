#pragma once
/// Text to values and back: durations, times, sizes, printable text.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
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

/// Digits only, the whole text, within 64 bits.
std::optional<std::uint64_t> parseUnsigned(std::string_view text);

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

/// Lower-case ASCII letters; other bytes unchanged.
std::string toLower(std::string_view text);

/// Without blanks and tabs at both ends.
std::string_view trim(std::string_view text);

/// A random (version 4) UUID in lower case.
std::string newUuid();

}  // namespace caiexport::core
