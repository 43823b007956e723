#include "caiexport/core/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <set>
#include <string>

namespace caiexport::core {
namespace {

using namespace std::chrono_literals;
using std::chrono::sys_days;

constexpr TimePoint kNow = sys_days(std::chrono::year(2026) / 11 / 24) + 10h;

std::optional<TimePoint> timeOf(std::string_view text) {
  return parseTime(text, kNow);
}

TEST(ParseDuration, TakesOneNumberAndOneUnit) {
  EXPECT_EQ(parseDuration("45s"), 45s);
  EXPECT_EQ(parseDuration("10m"), 10min);
  EXPECT_EQ(parseDuration("2h"), 2h);
  EXPECT_EQ(parseDuration("7d"), 168h);
  EXPECT_EQ(parseDuration("0"), 0s);
  EXPECT_EQ(parseDuration("90"), 90s);
}

TEST(ParseDuration, TakesDecimalsAndCutsThemToMilliseconds) {
  EXPECT_EQ(parseDuration("1.5"), 1500ms);
  EXPECT_EQ(parseDuration("0.25s"), 250ms);
  EXPECT_EQ(parseDuration("50ms"), 50ms);
  EXPECT_EQ(parseDuration("1.5ms"), 1ms);
  EXPECT_FALSE(parseDuration("ms"));
  EXPECT_EQ(parseDuration("1.5h"), 90min);
  EXPECT_EQ(parseDuration("0.0019"), 1ms);
  EXPECT_EQ(parseDuration("0.00000000000000000000000000001d"), 0ms);
  // A third of a day, exact to the millisecond although no step of it is.
  EXPECT_EQ(parseDuration("0.333333333333333333333d"), 28'799'999ms);
}

TEST(ParseDuration, RefusesEverythingElse) {
  for (const char* text :
       {"",      "s",   "1m30s", "-1",    "-1s", "+1",   " 1",  "1 ",  "1 s", "1.", ".5",      "1..5",
        "1.5.5", "1e3", "1S",    "1msec", "1w",  "0x10", "1,5", "inf", "nan", "s1", "\xd9\xa1"}) {
    EXPECT_FALSE(parseDuration(text)) << text;
  }
  EXPECT_FALSE(parseDuration(std::string_view("1\0", 2)));
}

TEST(ParseDuration, EndsAtAHundredYears) {
  EXPECT_EQ(parseDuration("36525d"), 36525 * 24h);
  EXPECT_FALSE(parseDuration("36525.001d"));
  EXPECT_FALSE(parseDuration("36526d"));
  // Each of these would wrap around to something small.
  EXPECT_FALSE(parseDuration("18446744073709551616"));
  EXPECT_FALSE(parseDuration("18446744073709552"));
  EXPECT_FALSE(parseDuration("213503982335d"));
  EXPECT_FALSE(parseDuration("99999999999999999999999999999999999999d"));
}

TEST(ParseTime, TakesRfc3339WithAnyOffset) {
  const TimePoint ten = kNow;
  EXPECT_EQ(timeOf("2026-11-24T10:00:00Z"), ten);
  EXPECT_EQ(timeOf("2026-11-24t10:00:00z"), ten);
  EXPECT_EQ(timeOf("2026-11-24 10:00:00Z"), ten);
  EXPECT_EQ(timeOf("2026-11-24T15:30:00+05:30"), ten);
  EXPECT_EQ(timeOf("2026-11-23T23:00:00-11:00"), ten);
  EXPECT_EQ(timeOf("2026-11-24T10:00:00-00:00"), ten);
}

TEST(ParseTime, CutsFractionsToMilliseconds) {
  EXPECT_EQ(timeOf("2026-11-24T10:00:00.5Z"), kNow + 500ms);
  EXPECT_EQ(timeOf("2026-11-24T10:00:00.0019999Z"), kNow + 1ms);
  EXPECT_EQ(timeOf("2026-11-24T10:00:00.123456789012345678901234567890Z"), kNow + 123ms);
}

TEST(ParseTime, TakesADateAsMidnightUtc) {
  EXPECT_EQ(timeOf("2026-11-24"), kNow - 10h);
  EXPECT_EQ(timeOf("1970-01-01"), TimePoint());
  EXPECT_EQ(timeOf("1969-12-31"), TimePoint() - 24h);
}

TEST(ParseTime, TakesADurationAsThatLongAgo) {
  EXPECT_EQ(timeOf("2h"), kNow - 2h);
  EXPECT_EQ(timeOf("7d"), kNow - 168h);
}

TEST(ParseTime, KnowsTheCalendar) {
  EXPECT_TRUE(timeOf("2024-02-29"));
  EXPECT_TRUE(timeOf("2000-02-29"));
  EXPECT_FALSE(timeOf("2023-02-29"));
  EXPECT_FALSE(timeOf("1900-02-29"));
  EXPECT_FALSE(timeOf("2100-02-29"));
  EXPECT_FALSE(timeOf("2026-04-31"));
  EXPECT_FALSE(timeOf("2026-00-10"));
  EXPECT_FALSE(timeOf("2026-13-10"));
  EXPECT_FALSE(timeOf("2026-01-00"));
  EXPECT_EQ(timeOf("2016-12-31T23:59:60Z"), timeOf("2017-01-01T00:00:00Z")) << "a leap second";
}

TEST(ParseTime, RefusesEverythingElse) {
  for (const char* text : {"",
                           "yesterday",
                           "2026-11",
                           "2026-11-24T",
                           "2026-11-24T10:00Z",
                           "2026-11-24T10:00:00",
                           "2026-11-24T24:00:00Z",
                           "2026-11-24T10:60:00Z",
                           "2026-11-24T10:00:61Z",
                           "2026-11-24T10:00:00.Z",
                           "2026-11-24T10:00:00+0530",
                           "2026-11-24T10:00:00+24:00",
                           "2026-11-24T10:00:00+05:60",
                           "2026-11-24T10:00:00Zx",
                           "2026-11-24T10:00:00Z ",
                           " 2026-11-24",
                           "2026-1-24",
                           "26-11-24",
                           "02026-11-24",
                           "2026/11/24",
                           "-2026-11-24",
                           "2026-+1-24",
                           "24.11.2026"}) {
    EXPECT_FALSE(timeOf(text)) << text;
  }
}

TEST(FormatTime, ShowsMillisecondsAlways) {
  EXPECT_EQ(formatTime(kNow), "2026-11-24T10:00:00.000Z");
  EXPECT_EQ(formatTime(kNow + 7ms), "2026-11-24T10:00:00.007Z");
  EXPECT_EQ(formatTime(TimePoint()), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(formatTime(TimePoint() - 1ms), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(formatTime(sys_days(std::chrono::year(33) / 4 / 3)), "0033-04-03T00:00:00.000Z");
}

TEST(FormatTime, IsReadBackByParseTime) {
  const TimePoint leapDay = sys_days(std::chrono::year(2024) / 2 / 29) + 23h + 59min + 59s + 999ms;
  for (const TimePoint time : {TimePoint(), TimePoint() - 1ms, kNow, leapDay}) {
    EXPECT_EQ(timeOf(formatTime(time)), time) << formatTime(time);
  }
}

TEST(ParseBytes, TakesPowersOf1024InEitherCase) {
  EXPECT_EQ(parseBytes("0"), 0U);
  EXPECT_EQ(parseBytes("1000"), 1000U);
  EXPECT_EQ(parseBytes("1K"), 1024U);
  EXPECT_EQ(parseBytes("1k"), 1024U);
  EXPECT_EQ(parseBytes("50M"), 50ULL << 20U);
  EXPECT_EQ(parseBytes("1.5G"), 3ULL << 29U);
  EXPECT_EQ(parseBytes("2t"), 2ULL << 40U);
  EXPECT_EQ(parseBytes("0.0009K"), 0U);
  EXPECT_EQ(parseBytes("0.999K"), 1022U);
}

TEST(ParseBytes, KnowsTheEndOf64Bits) {
  EXPECT_EQ(parseBytes("18446744073709551615"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_FALSE(parseBytes("18446744073709551616"));
  EXPECT_EQ(parseBytes("16777215T"), 16'777'215ULL << 40U);
  EXPECT_EQ(parseBytes("16777215.9999999999999999999T"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_FALSE(parseBytes("16777216T"));
  EXPECT_FALSE(parseBytes("18014398509481984K"));
}

TEST(ParseBytes, RefusesEverythingElse) {
  for (const char* text :
       {"", "M", "1.5", "1.M", ".5M", "-1", "+1", "1 M", "1MB", "1MiB", "1KK", "1P", "0x1K", "1e3"}) {
    EXPECT_FALSE(parseBytes(text)) << text;
  }
}

TEST(ParseUnsigned, TakesDigitsOnly) {
  EXPECT_EQ(parseUnsigned("0"), 0U);
  EXPECT_EQ(parseUnsigned("007"), 7U);
  EXPECT_EQ(parseUnsigned("18446744073709551615"), std::numeric_limits<std::uint64_t>::max());
  for (const char* text :
       {"", "-0", "+1", " 1", "1 ", "1a", "1.0", "0x1", "18446744073709551616", "99999999999999999999"}) {
    EXPECT_FALSE(parseUnsigned(text)) << text;
  }
  EXPECT_FALSE(parseUnsigned(std::string_view("1\0", 2)));
}

TEST(FormatBytes, ShowsThreeSignificantDigits) {
  EXPECT_EQ(formatBytes(0), "0 B");
  EXPECT_EQ(formatBytes(999), "999 B");
  EXPECT_EQ(formatBytes(1'000), "1.00 kB");
  EXPECT_EQ(formatBytes(1'234), "1.23 kB");
  EXPECT_EQ(formatBytes(16'200'000), "16.2 MB");
  EXPECT_EQ(formatBytes(123'456'789), "123 MB");
  EXPECT_EQ(formatBytes(std::numeric_limits<std::uint64_t>::max()), "18.4 EB");
}

TEST(FormatBytes, RoundsIntoTheNextPlaceAndUnit) {
  EXPECT_EQ(formatBytes(9'994), "9.99 kB");
  EXPECT_EQ(formatBytes(9'995), "10.0 kB");
  EXPECT_EQ(formatBytes(99'949), "99.9 kB");
  EXPECT_EQ(formatBytes(99'950), "100 kB");
  EXPECT_EQ(formatBytes(999'499), "999 kB");
  EXPECT_EQ(formatBytes(999'500), "1.00 MB");
  EXPECT_EQ(formatBytes(999'499'999'999), "999 GB");
  EXPECT_EQ(formatBytes(999'500'000'000), "1.00 TB");
}

TEST(FormatDuration, ChoosesTheUnit) {
  EXPECT_EQ(formatDuration(0ms), "0.0 s");
  EXPECT_EQ(formatDuration(4'200ms), "4.2 s");
  EXPECT_EQ(formatDuration(83s), "1m 23s");
  EXPECT_EQ(formatDuration(65s), "1m 05s");
  EXPECT_EQ(formatDuration(2h + 5min), "2h 05m");
  EXPECT_EQ(formatDuration(51h), "2d 03h");
  EXPECT_EQ(formatDuration(-83s), "-1m 23s");
}

TEST(FormatDuration, RoundsIntoTheNextUnit) {
  EXPECT_EQ(formatDuration(49ms), "0.0 s");
  EXPECT_EQ(formatDuration(50ms), "0.1 s");
  EXPECT_EQ(formatDuration(59'949ms), "59.9 s");
  EXPECT_EQ(formatDuration(59'950ms), "1m 00s");
  EXPECT_EQ(formatDuration(1h - 1ms), "1h 00m");
  EXPECT_EQ(formatDuration(24h - 1ms), "1d 00h");
}

TEST(FormatDuration, TakesTheExtremes) {
  EXPECT_FALSE(formatDuration(Duration::max()).empty());
  EXPECT_EQ(formatDuration(Duration::min()).front(), '-');
}

TEST(Printable, KeepsOrdinaryText) {
  const std::string text = "Grüße, 顧客 \U0001F600 \\ \"x\"";
  EXPECT_EQ(printable(text), text);
  EXPECT_EQ(printable(""), "");
}

TEST(Printable, ShowsControlCharactersAsBytes) {
  EXPECT_EQ(printable("a\x1b[31mb"), "a\\x1b[31mb");
  EXPECT_EQ(printable("a\tb\r\n"), "a\\x09b\\x0d\\x0a");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable("\x7f"), "\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m")
      << "C1: a terminal may take U+009B for ESC [";
  EXPECT_EQ(printable("\xc2\xa0"), "\xc2\xa0") << "the first one after C1";
}

TEST(Printable, ShowsMarksThatChangeTheOrderOrTheLine) {
  EXPECT_EQ(printable("a\u202Egnp.exe"), "a\\xe2\\x80\\xaegnp.exe");
  EXPECT_EQ(printable("a\u2028b"), "a\\xe2\\x80\\xa8b");
}

TEST(Printable, ShowsInvalidUtf8AsBytes) {
  EXPECT_EQ(printable("\x80"), "\\x80") << "lone continuation";
  EXPECT_EQ(printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(printable("\xc3"), "\\xc3") << "cut at the end";
  EXPECT_EQ(printable("\xe2\x82"), "\\xe2\\x82") << "cut at the end";
  EXPECT_EQ(printable("\xc3("), "\\xc3(") << "what follows stays";
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf") << "overlong, 2 bytes";
  EXPECT_EQ(printable("\xe0\x9f\xbf"), "\\xe0\\x9f\\xbf") << "overlong, 3 bytes";
  EXPECT_EQ(printable("\xf0\x8f\xbf\xbf"), "\\xf0\\x8f\\xbf\\xbf") << "overlong, 4 bytes";
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "surrogate";
  EXPECT_EQ(printable("\xf4\x8f\xbf\xbf"), "\xf4\x8f\xbf\xbf") << "U+10FFFF, the last one";
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "after the last one";
}

TEST(Printable, CutsBetweenCharacters) {
  EXPECT_EQ(printable("abcd", 4), "abcd");
  EXPECT_EQ(printable("abcde", 4), "abcd…");
  EXPECT_EQ(printable("äöüß", 4), "äöüß") << "characters, not bytes";
  EXPECT_EQ(printable("äöüßx", 4), "äöüß…");
  EXPECT_EQ(printable("ab\n", 5), "ab…") << "an escape is not split";
  EXPECT_EQ(printable("a", 0), "…");
  EXPECT_EQ(printable(std::string(3000, 'x')), std::string(2000, 'x') + "…");
}

TEST(PercentEncode, KeepsOnlyUnreservedCharacters) {
  EXPECT_EQ(percentEncode("AZaz09-._~"), "AZaz09-._~");
  EXPECT_EQ(percentEncode("a b&c=d/e?f#g%h+i"), "a%20b%26c%3Dd%2Fe%3Ff%23g%25h%2Bi");
  EXPECT_EQ(percentEncode("ä\r\n"), "%C3%A4%0D%0A");
  EXPECT_EQ(percentEncode(std::string_view("\0\xff", 2)), "%00%FF");
}

TEST(SplitList, TrimsAndDropsEmptyPieces) {
  using List = std::vector<std::string>;
  EXPECT_EQ(splitList("a, b\t,c"), (List{"a", "b", "c"}));
  EXPECT_EQ(splitList(",,a,, ,"), (List{"a"}));
  EXPECT_EQ(splitList("a b,c"), (List{"a b", "c"}));
  EXPECT_TRUE(splitList("").empty());
  EXPECT_TRUE(splitList(" , ").empty());
}

TEST(ToLower, TouchesAsciiOnly) {
  EXPECT_EQ(toLower("Content-TYPE @[`{ ÄÉ"), "content-type @[`{ ÄÉ");
}

TEST(Trim, TakesBlanksAndTabsFromTheEndsOnly) {
  EXPECT_EQ(trim(" \t a b \t"), "a b");
  EXPECT_EQ(trim("\na\n"), "\na\n");
  EXPECT_EQ(trim(" \t "), "");
  EXPECT_EQ(trim(""), "");
}

TEST(NewUuid, IsARandomVersion4Uuid) {
  const std::string shape = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) {
    const std::string uuid = newUuid();
    EXPECT_THAT(uuid, testing::MatchesRegex(shape));
    EXPECT_TRUE(seen.insert(uuid).second) << uuid;
  }
}

}  // namespace
}  // namespace caiexport::core
