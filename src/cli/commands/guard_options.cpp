#include "guard_options.h"

#include <Poco/NumberParser.h>

#include <array>
#include <cmath>
#include <limits>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "cli/option_values.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 3> kGuards{{
    {"max-age", "DURATION", "the newest batch, or the segment's evaluation, may be so old (exit 12), e.g. 24h"},
    {"min-records", "N", "the result must hold so many records (exit 8; files are kept, `latest` stays)"},
    {"max-change", "PERCENT", "most change of records against the last success (exit 8; the same), e.g. 30%"},
}};

std::optional<double> percentOption(const ParsedOptions& options, std::string_view name) {
  const auto text = options.value(name);
  if (!text) return std::nullopt;
  std::string number(core::trim(*text));
  if (number.ends_with('%')) number.pop_back();
  double percent = 0;
  const bool digits = !number.empty() && number.find_first_not_of("0123456789.") == number.npos;
  if (digits && Poco::NumberParser::tryParseFloat(number, percent) && std::isfinite(percent)) return percent;
  throw core::Error(core::Category::usage, "--" + std::string(name) + ": '" + core::printable(*text, 40) +
                                               "' is not a percentage; 30% or 12.5 are");
}

}  // namespace

OptionGroup guardGroup() {
  return {"Guards", kGuards};
}

model::Guards guardOptions(const ParsedOptions& options) {
  model::Guards guards;
  guards.maxAge = durationOption(options, "max-age");
  guards.minRecords = numberOption(options, "min-records", 1, std::numeric_limits<std::int64_t>::max());
  guards.maxChangePercent = percentOption(options, "max-change");
  return guards;
}

}  // namespace caiexport::cli
