/// Error answers in all of Adobe's shapes, and how long they ask to wait.

#include "caiexport/core/secret.h"
#include "caiexport/core/text.h"
#include "fuzz/answering_platform.h"
#include "platform/problem.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(problems) {
  const net::HttpResponse answer = fuzz::answerFrom(input);
  const platform::Problem problem = platform::readProblem(answer);
  const std::string text = platform::describe(answer, problem);
  fuzz::require(core::printable(text, 4 * text.size()) == text, "a problem that can't be shown");
  platform::remedyFor(answer.status, problem.code);
  core::KnownSecrets secrets;
  secrets.add("the-token");
  const std::string clean = secrets.without(answer.body);
  fuzz::require(clean.find("the-token") == std::string::npos, "a secret that is repeated");
  const platform::Verdict verdict = platform::classify(answer, support::FakeClock().now());
  if (!verdict.retryAfter) return;
  fuzz::require(*verdict.retryAfter >= core::Duration::zero(), "a wait below zero");
  fuzz::require(*verdict.retryAfter <= std::chrono::hours(24), "a wait of more than a day");
}
