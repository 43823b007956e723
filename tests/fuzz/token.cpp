/// What the token service answers.

#include "fuzz/answering_platform.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(token) {
  fuzz::AnsweringTransport transport(input);
  support::FakeClock clock;
  support::FixedRandom random;
  platform::ImsSettings settings;
  settings.imsUrl = fuzz::kBaseUrl;
  settings.clientId = "the-client";
  settings.clientSecret = core::Secret("the-secret");
  settings.scopes = "openid";
  settings.orgId = "ORG@AdobeOrg";
  settings.retry.furtherTries = 1;
  platform::ImsTokenSource source(std::move(settings), transport, clock, random, core::nullLog());
  fuzz::mayRefuse([&] {
    const core::Secret token = source.token({});
    fuzz::require(!token.empty(), "an empty token");
    for (const char c : token.reveal()) fuzz::require(c > ' ' && c < 0x7f, "a token that can't be sent");
  });
}
