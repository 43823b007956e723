#include "create_once.h"

#include <algorithm>

#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;

constexpr int kLooks = 10;
// A list that is seen to lag is looked at for longer, but not for ever.
constexpr int kMostWindows = 4;
// In one run, each with a look-up after it; a platform that loses more answers is not well.
constexpr int kMostCreations = 2;

[[noreturn]] void throwBlocked(const StepContext& context, const OnceEffect& effect, const std::string& why) {
  const std::string job = std::to_string(model::numberOf(context.job.id));
  throw Error(
      Category::blocked,
      "job " + job + " asked the platform to " + effect.what + " and does not know whether that happened: " + why,
      {.hint = "check on the platform; if it did not happen: caiexport resume " + job +
               " --resubmit; if it did: caiexport resume " + job + " --adopt ID"});
}

/// How a candidate that was not there before lies to the intent, all in the platform's time.
enum class Age { older, near, ours };

Age ageOf(const std::optional<core::TimePoint>& created, core::TimePoint intended, bool seenBefore) {
  using std::chrono::hours;
  using std::chrono::seconds;
  if (!created || *created == core::TimePoint() || intended == core::TimePoint()) return Age::ours;
  const core::Duration earlier = intended - *created;
  // `Date` has whole seconds.
  if (earlier <= seconds(1)) return Age::ours;
  // Machines of one platform differ by a little: so close it may be somebody else's.
  if (earlier <= seconds(5)) return Age::near;
  // No list lags for an hour: then the clocks of the platform don't agree, and what was there before decides alone.
  return seenBefore && earlier > hours(1) ? Age::ours : Age::older;
}

/// The look for what an earlier request of the step may have made.
class LookUp {
 public:
  LookUp(StepContext& context, const OnceEffect& effect, core::TimePoint intended)
      : context_(context),
        tools_(context.tools),
        effect_(effect),
        intended_(intended),
        before_(tools_.store.seenBefore(context.job.id, context.step.name)),
        window_(tools_.lookUp * (effect.rationed ? 2 : 1)) {}

  /// What was found; nothing if the platform answered and had none.
  std::optional<store::StepResult> run() {
    tools_.store.addEvent(context_.job.id, context_.step.name, "look_up",
                          "this may have been done already: checking first");
    const core::SteadyTime last = tools_.clock.steadyNow() + window_ * kMostWindows;
    end_ = tools_.clock.steadyNow() + window_;
    for (;;) {
      look();
      if (found_ || tools_.clock.steadyNow() >= std::min(end_, last)) break;
      if (!tools_.clock.sleep(window_ / kLooks, context_.stop)) throw core::Interrupted();
    }
    if (found_) return found_;
    if (!doubtful_.empty()) throwBlocked(context_, effect_, doubtful_ + " looks the same, but may be somebody else's");
    if (!unclaimed_.empty()) {
      throwBlocked(
          context_, effect_,
          unclaimed_ + " looks the same, but it is also unknown what happened to another job's request for the same");
    }
    if (answered_) return std::nullopt;
    // A platform that is out of reach will be back: the intent stays, and `resume` looks again.
    if (failure_ && failure_->category() == Category::unavailable) throw *failure_;
    throwBlocked(context_, effect_, failure_ ? std::string("the look-up failed: ") + failure_->what() : "no answer");
  }

 private:
  void look() {
    try {
      std::vector<Candidate> candidates = effect_.lookUp();
      // The time runs from the first answer: nothing was looked at before.
      if (!answered_) end_ = tools_.clock.steadyNow() + window_;
      answered_ = true;
      judge(candidates);
    } catch (const core::Interrupted&) {
      throw;
    } catch (const Error& error) {
      if (error.category() == Category::blocked || error.category() == Category::io) throw;
      failure_ = error;
    }
  }

  void judge(std::vector<Candidate>& candidates) {
    std::erase_if(candidates, [&](const Candidate& candidate) { return wasThere(candidate); });
    std::vector<Candidate> ours;
    for (Candidate& candidate : candidates) {
      switch (ageOf(candidate.created, intended_, before_.has_value())) {
        case Age::ours:
          ours.push_back(std::move(candidate));
          break;
        case Age::near:
          doubtful_ = core::printable(candidate.id, 80);
          break;
        case Age::older:
          // It was there before the request and is shown only now: the list lags.
          end_ = tools_.clock.steadyNow() + window_;
          break;
      }
    }
    if (ours.size() > 1) {
      throwBlocked(context_, effect_, std::to_string(ours.size()) + " candidates match what was asked for");
    }
    unclaimed_.clear();
    if (ours.empty()) return;
    // Another job of this database may have taken it since the list was read, or may still come to know that it is its
    // own: the next look tells.
    if (tools_.store.claimRemoteJob(context_.job.id, ours.front().result)) {
      found_ = std::move(ours.front().result);
    } else {
      unclaimed_ = core::printable(ours.front().id, 80);
    }
  }

  bool wasThere(const Candidate& candidate) const {
    return before_ && std::ranges::find(before_->jobs, candidate.id) != before_->jobs.end();
  }

  StepContext& context_;
  Tools& tools_;
  const OnceEffect& effect_;
  core::TimePoint intended_;
  std::optional<store::SeenBefore> before_;
  core::Duration window_;
  core::SteadyTime end_ = {};
  bool answered_ = false;
  std::string doubtful_ = {};
  std::string unclaimed_ = {};  ///< Of the last look.
  std::optional<store::StepResult> found_ = {};
  std::optional<Error> failure_ = {};
};

/// The beginning of time where no answer has told the platform's: this machine's clock may be off by years.
core::TimePoint platformTime(const Tools& tools) {
  return tools.client.clockSkew() ? tools.client.serverNow() : core::TimePoint();
}

}  // namespace

store::StepResult doOnce(StepContext& context, const OnceEffect& effect) {
  Tools& tools = context.tools;
  const model::JobId job = context.job.id;
  const model::StepName step = context.step.name;
  // Of the first request that is in doubt: whatever one of them made is not older.
  std::optional<core::TimePoint> intended = context.step.intendedAt;
  for (int creations = 0;;) {
    if (intended) {
      if (std::optional<store::StepResult> found = LookUp(context, effect, *intended).run()) {
        tools.store.addEvent(job, step, "adopted", effect.what + " had happened");
        return *found;
      }
      if (creations == kMostCreations) throwBlocked(context, effect, "the answer was lost again and again");
    }
    effect.prepare();
    std::optional<store::SeenBefore> before;
    // With a request in doubt, what is there now may be what that made.
    if (effect.before && !intended) before = effect.before();
    if (!intended) intended = platformTime(tools);
    tools.store.intend(job, step, *intended, true, before);
    try {
      ++creations;
      return effect.create();
    } catch (const platform::InDoubt& doubt) {
      tools.store.addEvent(job, step, "in_doubt", doubt.what());
      tools.log.write(core::LogLevel::warning, "in_doubt", {{"what", effect.what}, {"message", doubt.what()}});
    } catch (const core::Interrupted&) {
      throw;
    } catch (const Error&) {
      // Refused the second time, it may have been taken the first.
      if (creations == 1 && !context.step.intendedAt) tools.store.unblock(job, step);
      throw;
    }
  }
}

}  // namespace caiexport::engine
