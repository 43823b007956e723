#include "create_once.h"

#include "caiexport/core/log.h"
#include "caiexport/platform/client.h"

namespace caiexport::engine {
namespace {

using core::Category;
using core::Error;

// The platform's lists may lag behind its answers: look for 30 s (30 times --retry-wait), every 3 s.
constexpr int kLookUpWindow = 30;
constexpr int kLookUpInterval = 3;
// In one run, each with a look-up after it; a platform that loses more answers is not well.
constexpr int kMostCreations = 2;

[[noreturn]] void throwBlocked(const StepContext& context, const OnceEffect& effect, const std::string& why) {
  const std::string job = std::to_string(model::numberOf(context.job.id));
  throw Error(Category::blocked,
              "job " + job + " asked the platform to " + effect.what + " and can't tell whether that happened: " + why,
              {.hint = "look at the platform; if it did not happen: caiexport resume " + job +
                       " --resubmit; if it did: caiexport resume " + job + " --adopt ID"});
}

struct LookUp {
  bool answered = false;
  std::optional<store::StepResult> found = {};
  std::optional<Error> failure = {};
};

void lookOnce(const StepContext& context, const OnceEffect& effect, LookUp& state) {
  try {
    std::vector<store::StepResult> candidates = effect.lookUp();
    state.answered = true;
    if (candidates.size() > 1) {
      throwBlocked(context, effect, std::to_string(candidates.size()) + " candidates match what was asked for");
    }
    if (candidates.size() == 1) state.found = std::move(candidates.front());
  } catch (const core::Interrupted&) {
    throw;
  } catch (const Error& error) {
    if (error.category() == Category::blocked || error.category() == Category::io) throw;
    state.failure = error;
  }
}

/// What was found; nothing if the platform answered and had none.
std::optional<store::StepResult> lookBeforeActing(StepContext& context, const OnceEffect& effect) {
  Tools& tools = context.tools;
  tools.store.addEvent(context.job.id, context.step.name, "look_up", "it may be done already: looking before acting");
  const core::SteadyTime end = tools.clock.steadyNow() + tools.retry.firstWait * kLookUpWindow;
  LookUp state;
  for (;;) {
    lookOnce(context, effect, state);
    if (state.found || tools.clock.steadyNow() >= end) break;
    if (!tools.clock.sleep(tools.retry.firstWait * kLookUpInterval, context.stop)) throw core::Interrupted();
  }
  if (state.found || state.answered) return state.found;
  // A platform that is out of reach will be back: the intent stays, and `resume` looks again.
  if (state.failure && state.failure->category() == Category::unavailable) throw *state.failure;
  throwBlocked(context, effect,
               state.failure ? std::string("the look-up failed: ") + state.failure->what() : "no answer");
}

}  // namespace

store::StepResult doOnce(StepContext& context, const OnceEffect& effect) {
  Tools& tools = context.tools;
  const model::JobId job = context.job.id;
  const model::StepName step = context.step.name;
  bool inDoubt = context.step.intendedAt.has_value();
  for (int creations = 0;;) {
    if (inDoubt) {
      if (std::optional<store::StepResult> found = lookBeforeActing(context, effect)) {
        tools.store.addEvent(job, step, "adopted", effect.what + " had happened");
        return *found;
      }
      if (creations == kMostCreations) throwBlocked(context, effect, "the answer was lost again and again");
    }
    effect.prepare();
    tools.store.intend(job, step, tools.client.serverNow(), true);
    try {
      ++creations;
      return effect.create();
    } catch (const platform::InDoubt& doubt) {
      tools.store.addEvent(job, step, "in_doubt", doubt.what());
      tools.log.write(core::LogLevel::warning, "in_doubt", {{"what", effect.what}, {"message", doubt.what()}});
      inDoubt = true;
    } catch (const core::Interrupted&) {
      throw;
    } catch (const Error&) {
      tools.store.unblock(job, step);  // the platform did not take it: there is no intent any more
      throw;
    }
  }
}

}  // namespace caiexport::engine
