#include "classify.h"

#include <array>
#include <charconv>
#include <string>
#include <vector>

#include "caiexport/core/text.h"
#include "caiexport/net/http.h"
#include "problem.h"

namespace caiexport::platform {
namespace {

/// Longer than any policy grants, and safe to calculate with.
constexpr core::Duration kLongestWish = std::chrono::hours(24);

std::optional<unsigned> number(std::string_view text, unsigned most) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > most) return std::nullopt;
  return value;
}

std::vector<std::string_view> words(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> result;
  while (true) {
    const std::size_t first = text.find_first_not_of(separators);
    if (first == std::string_view::npos) return result;
    text.remove_prefix(first);
    const std::size_t end = std::min(text.find_first_of(separators), text.size());
    result.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::optional<unsigned> monthFrom(std::string_view name) {
  constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  for (unsigned i = 0; i < kMonths.size(); ++i) {
    if (kMonths[i] == name) return i + 1;
  }
  return std::nullopt;
}

std::optional<core::Duration> timeOfDay(std::string_view text) {
  const auto parts = words(text, ":");
  if (parts.size() != 3) return std::nullopt;
  const auto hour = number(parts[0], 23);
  const auto minute = number(parts[1], 59);
  const auto second = number(parts[2], 60);
  if (!hour || !minute || !second) return std::nullopt;
  return std::chrono::hours(*hour) + std::chrono::minutes(*minute) + std::chrono::seconds(*second);
}

std::optional<core::TimePoint> timeFrom(std::string_view year, std::string_view month, std::string_view day,
                                        std::string_view time) {
  auto y = number(year, 9999);
  const auto m = monthFrom(month);
  const auto d = number(day, 31);
  const auto t = timeOfDay(time);
  if (!y || !m || !d || !t) return std::nullopt;
  // RFC 9110: two digits of RFC 850 mean the nearest past; this program has no answers from before 1970.
  if (year.size() == 2) *y += *y < 70 ? 2000 : 1900;
  const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(*y)), std::chrono::month(*m),
                                         std::chrono::day(*d));
  if (!date.ok()) return std::nullopt;
  return core::TimePoint(std::chrono::sys_days(date)) + *t;
}

core::Duration untilDate(core::TimePoint date, const net::HttpResponse& response, core::TimePoint now) {
  const auto sent = parseHttpDate(response.headers.get("Date").value_or(""));
  return std::max(date - sent.value_or(now), core::Duration::zero());
}

}  // namespace

std::optional<core::TimePoint> parseHttpDate(std::string_view text) {
  const auto parts = words(core::trim(text), " ");
  // Sun, 06 Nov 1994 08:49:37 GMT
  if (parts.size() == 6 && parts[5] == "GMT") return timeFrom(parts[3], parts[2], parts[1], parts[4]);
  // Sunday, 06-Nov-94 08:49:37 GMT
  if (parts.size() == 4 && parts[3] == "GMT") {
    const auto date = words(parts[1], "-");
    if (date.size() == 3) return timeFrom(date[2], date[1], date[0], parts[2]);
  }
  // Sun Nov  6 08:49:37 1994
  if (parts.size() == 5) return timeFrom(parts[4], parts[1], parts[2], parts[3]);
  return std::nullopt;
}

std::optional<core::Duration> retryAfterOf(const net::HttpResponse& response, core::TimePoint now) {
  if (const auto header = response.headers.get("Retry-After")) {
    const std::string_view value = core::trim(*header);
    const bool digits = !value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos;
    constexpr auto kMostSeconds = static_cast<std::uint64_t>(std::chrono::seconds(std::chrono::hours(24)).count());
    if (digits) {
      const std::uint64_t seconds = std::min(core::parseUnsigned(value).value_or(kMostSeconds), kMostSeconds);
      return std::chrono::seconds(seconds);
    }
    if (const auto date = parseHttpDate(value)) return std::min(untilDate(*date, response, now), kLongestWish);
  }
  return response.status >= 400 ? readProblem(response).retryAfter : std::nullopt;
}

Verdict classify(const net::HttpResponse& response, core::TimePoint now) {
  if (response.status >= 200 && response.status < 300) return {.outcome = Outcome::success};
  switch (response.status) {
    case 401:
      return {.outcome = Outcome::authExpired};
    case 408:
    case 429:
    case 500:  // "Troubleshooting guide": too many calls at once may be answered so.
    case 502:
    case 503:
    case 504:
      return {.outcome = Outcome::transient,
              .retryAfter = retryAfterOf(response, now),
              .throttled = response.status == 429 || response.status == 503};
    default:
      return {.outcome = Outcome::permanent};
  }
}

}  // namespace caiexport::platform
