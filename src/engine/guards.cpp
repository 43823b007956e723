#include "guards.h"

#include <cmath>
#include <cstdio>
#include <limits>

#include "caiexport/core/text.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;

/// Two servers' clocks, and the second that the `Date` of an answer cuts off.
constexpr std::chrono::minutes kServersApart{5};

std::string percent(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%+.1f %%", value);
  return text;
}

std::string plainPercent(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.6g%%", value);
  return text;
}

[[noreturn]] void refuse(const StepContext& context, const std::string& message) {
  throw Error(
      Category::verification, message,
      {.hint = "the files are kept in " +
               core::printable((context.job.request.output / context.job.datasetId.value()).string()) +
               " and `latest` stays; to accept them, run again without this guard (nothing is downloaded twice)"});
}

void requireSimilar(StepContext& context, const std::string& what, std::uint64_t records, double mostPercent) {
  const auto last = context.tools.store.lastSuccess(context.job);
  if (!last) {
    const std::string text = "--max-change is not checked, because there is no earlier success to compare with";
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "guard", text);
    return;
  }
  const std::string of = "the last success (job " + std::to_string(model::numberOf(last->job)) + ", " +
                         core::formatTime(last->finishedAt) + ")";
  const std::uint64_t before = last->records;
  if (records == before) return;
  const double change =
      before == 0 ? std::numeric_limits<double>::infinity()
                  : 100.0 * (static_cast<double>(records) - static_cast<double>(before)) / static_cast<double>(before);
  if (std::abs(change) <= mostPercent) return;
  refuse(context, what + " holds " + std::to_string(records) + " records; " + of + " had " + std::to_string(before) +
                      ": a change of " + percent(change) + ", expected at most " + plainPercent(mostPercent) +
                      " (--max-change)");
}

}  // namespace

void requireFresh(const std::optional<core::Duration>& maxAge, std::string_view what,
                  std::optional<core::TimePoint> when, const platform::Client& client) {
  if (!maxAge) return;
  const auto refuse = [&](const std::string& message) {
    throw Error(
        Category::tooOld, message + " (--max-age)",
        {.hint =
             "check that the scoring or the evaluation is still scheduled; to accept the age, leave out --max-age"});
  };
  if (!when || *when == core::TimePoint()) refuse(std::string(what) + " at a time that is not known");
  if (!client.clockSkew()) refuse("the platform's answers carry no time, so no age can be calculated");
  const core::TimePoint now = client.serverNow();
  const std::string made = std::string(what) + " " + core::formatTime(*when);
  if (*when > now + kServersApart) {
    refuse(made + ", which is in the future (the platform's clock says " + core::formatTime(now) + ")");
  }
  if (*when >= now - *maxAge) return;
  refuse(made + ", " + core::formatDuration(now - *when) + " ago; expected at most " + core::formatDuration(*maxAge));
}

void requireExpectedRecords(StepContext& context, const std::string& what, std::optional<std::uint64_t> records) {
  const model::Guards& guards = context.job.request.guards;
  if (!guards.minRecords && !guards.maxChangePercent) return;
  if (!records) {
    refuse(context, "the number of records of " + what +
                        " is unknown, because its files could not be counted, so the result cannot be checked: --" +
                        (guards.minRecords ? "min-records" : "max-change") + " can't be checked");
  }
  if (guards.minRecords && *records < *guards.minRecords) {
    refuse(context, what + " holds " + std::to_string(*records) + " records, expected at least " +
                        std::to_string(*guards.minRecords) + " (--min-records)");
  }
  if (guards.maxChangePercent) requireSimilar(context, what, *records, *guards.maxChangePercent);
}

}  // namespace caiexport::engine
