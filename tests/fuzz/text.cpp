/// Durations, times, sizes and rates, lists, and text for terminals.

#include "caiexport/core/text.h"

#include <algorithm>

#include "fuzz/target.h"
#include "platform/problem.h"
#include "support/fake_clock.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(text) {
  const core::TimePoint now = support::FakeClock().now();
  if (const auto duration = core::parseDuration(input)) {
    fuzz::require(*duration >= core::Duration::zero(), "a duration below zero");
    core::formatDuration(*duration);
  }
  if (const auto time = core::parseTime(input, now)) {
    const bool fourDigits = *time >= core::TimePoint(std::chrono::sys_days(std::chrono::year(1) / 1 / 2)) &&
                            *time < core::TimePoint(std::chrono::sys_days(std::chrono::year(9999) / 12 / 30));
    const std::string shown = core::formatTime(*time);
    fuzz::require(!fourDigits || core::parseTime(shown, now) == time, "a time changes when it is written");
  }
  platform::parseHttpDate(input);
  if (const auto bytes = core::parseBytes(input)) core::formatBytes(*bytes);
  core::parseUnsigned(input);
  for (const std::string& piece : core::splitList(input)) {
    fuzz::require(!piece.empty() && piece.find(',') == std::string::npos, "a piece that is none");
  }
  const std::string shown = core::printable(input, 4 * input.size() + 1);
  fuzz::require(core::printable(shown, shown.size()) == shown, "text that can't be shown");
  core::printable(input, input.size() / 2);
  const std::string encoded = core::percentEncode(input);
  fuzz::require(encoded.size() >= input.size() && encoded.size() <= 3 * input.size(), "a wrong percent encoding");
  fuzz::require(std::ranges::all_of(encoded, [](char c) { return c > ' ' && c < 0x7f; }), "a wrong percent encoding");
}
