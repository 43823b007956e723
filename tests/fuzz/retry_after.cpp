/// Retry-After, with or without a Date: "VALUE\nDATE".

#include "caiexport/net/http.h"
#include "fuzz/target.h"
#include "platform/problem.h"
#include "support/fake_clock.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(retry_after) {
  net::HttpResponse answer{.status = 429};
  answer.headers.add("Retry-After", std::string(fuzz::takeUntil(input, "\n")));
  if (!input.empty()) answer.headers.add("Date", std::string(input));
  const auto wait = platform::retryAfterOf(answer, support::FakeClock().now());
  if (!wait) return;
  fuzz::require(*wait >= core::Duration::zero(), "a wait below zero");
  fuzz::require(*wait <= std::chrono::hours(24), "a wait of more than a day");
}
