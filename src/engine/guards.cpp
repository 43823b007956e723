#include "guards.h"

#include <cmath>
#include <cstdio>
#include <limits>

#include "caiexport/core/text.h"
#include "caiexport/store/job_store.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;

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
  throw Error(Category::verification, message,
              {.hint = "the files are kept in " +
                       core::printable((context.job.request.output / context.job.datasetId.value()).string()) +
                       " and `latest` stays; to accept them, run again without this guard (nothing is fetched twice)"});
}

void requireSimilar(StepContext& context, const std::string& what, std::uint64_t records, double mostPercent) {
  const auto last = context.tools.store.lastSuccess(context.job);
  if (!last) {
    const std::string text = "there is no earlier success to compare with: --max-change passes";
    context.tools.observer.notice(text);
    context.tools.store.addEvent(context.job.id, context.step.name, "guard", text);
    return;
  }
  if (records == last->records) return;
  const double change = last->records == 0
                            ? std::numeric_limits<double>::infinity()
                            : 100.0 * (static_cast<double>(records) - static_cast<double>(last->records)) /
                                  static_cast<double>(last->records);
  if (std::abs(change) <= mostPercent) return;
  refuse(context, what + " holds " + std::to_string(records) + " records; the last success (job " +
                      std::to_string(model::numberOf(last->job)) + ", " + core::formatTime(last->finishedAt) +
                      ") had " + std::to_string(last->records) + ": a change of " + percent(change) +
                      ", expected at most " + plainPercent(mostPercent) + " (--max-change)");
}

}  // namespace

void requireFresh(const std::optional<core::Duration>& maxAge, std::string_view what, core::TimePoint when,
                  core::TimePoint now) {
  if (!maxAge || when >= now - *maxAge) return;
  throw Error(Category::tooOld,
              std::string(what) + " " + core::formatTime(when) + ", " + core::formatDuration(now - when) +
                  " ago; expected at most " + core::formatDuration(*maxAge) + " (--max-age)",
              {.hint = "is the scoring or the evaluation still scheduled? Without --max-age it is taken as it is"});
}

void requireExpectedRecords(StepContext& context, const std::string& what, std::optional<std::uint64_t> records) {
  const model::Guards& guards = context.job.request.guards;
  if (!guards.minRecords && !guards.maxChangePercent) return;
  if (!records) refuse(context, what + " can't be guarded: none of its files could be counted");
  if (guards.minRecords && *records < *guards.minRecords) {
    refuse(context, what + " holds " + std::to_string(*records) + " records, expected at least " +
                        std::to_string(*guards.minRecords) + " (--min-records)");
  }
  if (guards.maxChangePercent) requireSimilar(context, what, *records, *guards.maxChangePercent);
}

}  // namespace caiexport::engine
