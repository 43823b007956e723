#include <gmock/gmock.h>

#include "simulator/platform.h"

namespace caiexport::simulator {
namespace {

const Headers formHeaders = {{"Content-Type", "application/x-www-form-urlencoded"}};
const std::string goodForm =
    "grant_type=client_credentials&client_id=sim-client&client_secret=sim-secret&scope=openid%2CAdobeID";

std::string errorOf(const Response& response) {
  return jsonIn(response)->getValue<std::string>("error");
}

std::string newToken(Platform& platform) {
  return jsonIn(platform.send("POST", "/ims/token/v3", formHeaders, goodForm))->getValue<std::string>("access_token");
}

int statusWith(Platform& platform, const std::string& token) {
  Headers headers = without(goodHeaders(), "Authorization");
  headers.emplace_back("Authorization", "Bearer " + token);
  return platform.send("GET", scoreBatches, headers).status;
}

TEST(Ims, IssuesATokenThatOpensThePlatform) {
  Platform platform;
  const Response answer = platform.send("POST", "/ims/token/v3", formHeaders, goodForm);
  ASSERT_EQ(answer.status, 200);
  EXPECT_EQ(jsonIn(answer)->getValue<std::string>("token_type"), "bearer");
  EXPECT_EQ(jsonIn(answer)->getValue<int>("expires_in"), 86399);
  EXPECT_EQ(statusWith(platform, jsonIn(answer)->getValue<std::string>("access_token")), 200);
  EXPECT_EQ(platform.world.statistics().tokensIssued, 1U);
}

TEST(Ims, TakesTheParametersFromTheQueryToo) {
  Platform platform;
  EXPECT_EQ(platform.send("POST", "/ims/token/v3?" + goodForm, {}).status, 200);
}

TEST(Ims, RefusesAWrongSecretAndMissingParameters) {
  Platform platform;
  const auto with = [&](const std::string& form) { return platform.send("POST", "/ims/token/v3", formHeaders, form); };
  const Response wrong = with("grant_type=client_credentials&client_id=sim-client&client_secret=no&scope=openid");
  EXPECT_EQ(wrong.status, 401);
  EXPECT_EQ(errorOf(wrong), "invalid_client");
  EXPECT_EQ(errorOf(with("grant_type=client_credentials&client_id=sim-client&client_secret=sim-secret")),
            "invalid_scope");
  EXPECT_EQ(errorOf(with("client_id=sim-client&client_secret=sim-secret&scope=openid")), "invalid_request");
  EXPECT_EQ(errorOf(with("grant_type=password&client_id=sim-client&client_secret=sim-secret&scope=x")),
            "unsupported_grant_type");
  EXPECT_EQ(platform.send("POST", "/ims/token/v3", {{"Content-Type", "application/json"}}, "{}").status, 400);
  EXPECT_EQ(platform.world.statistics().tokensIssued, 0U);
}

TEST(Ims, TokensExpireWithTheClockAndByAdvancing) {
  Platform platform(R"({"token_lifetime_seconds": 60})");
  const std::string first = newToken(platform);
  platform.clock.advance(std::chrono::seconds(59));
  EXPECT_EQ(statusWith(platform, first), 200);
  platform.clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(statusWith(platform, first), 401);

  const std::string second = newToken(platform);
  EXPECT_EQ(statusWith(platform, second), 200);
  EXPECT_EQ(platform.control("advance", R"({"seconds": 60})").status, 200);
  EXPECT_EQ(statusWith(platform, second), 401);
  EXPECT_EQ(statusWith(platform, "sim-access-token"), 200);
}

struct MissingHeader {
  const char* name;
  int status;
  const char* code;
};

class Gateway : public testing::TestWithParam<MissingHeader> {};

TEST_P(Gateway, NamesTheMissingHeader) {
  Platform platform;
  const Response answer = platform.send("GET", scoreBatches, without(goodHeaders(), GetParam().name));
  EXPECT_EQ(answer.status, GetParam().status);
  EXPECT_EQ(stringIn(jsonIn(answer), "error_code"), GetParam().code);
}

INSTANTIATE_TEST_SUITE_P(Headers, Gateway,
                         testing::Values(MissingHeader{"x-api-key", 403, "403000"},
                                         MissingHeader{"Authorization", 403, "403010"},
                                         MissingHeader{"x-gw-ims-org-id", 400, "400003"},
                                         MissingHeader{"x-sandbox-name", 400, "400003"}));

TEST(GatewayValues, AreChecked) {
  Platform platform;
  const auto codeWith = [&](const std::string& name, const std::string& value) {
    Headers headers = without(goodHeaders(), name);
    headers.emplace_back(name, value);
    return stringIn(jsonIn(platform.send("GET", scoreBatches, headers)), "error_code").value_or("");
  };
  EXPECT_EQ(codeWith("x-api-key", "other"), "403003");
  EXPECT_EQ(codeWith("Authorization", "Bearer nonsense"), "401013");
  EXPECT_EQ(codeWith("Authorization", "bearer sim-access-token"), "401013");
  EXPECT_EQ(codeWith("x-gw-ims-org-id", "no-organisation"), "403027");
  EXPECT_EQ(codeWith("x-gw-ims-org-id", "OTHER@AdobeOrg"), "403025");
}

TEST(GatewayValues, UnknownSandboxIsRefusedAndAnotherOneIsEmpty) {
  Platform platform;
  const auto with = [&](const std::string& sandbox) {
    Headers headers = without(goodHeaders(), "x-sandbox-name");
    headers.emplace_back("x-sandbox-name", sandbox);
    return platform.send("GET", scoreBatches, headers);
  };
  EXPECT_EQ(with("nowhere").status, 403);
  EXPECT_EQ(with("dev").body, "{}");
}

TEST(EveryAnswer, HasARequestIdAndTheSimulatedDate) {
  Platform platform;
  const Response first = platform.get("/nowhere");
  const Response second = platform.get(scoreBatches);
  EXPECT_EQ(first.status, 404);
  EXPECT_NE(headerOf(first.headers, "x-request-id"), headerOf(second.headers, "X-Request-Id"));
  EXPECT_EQ(headerOf(second.headers, "Date"), "Tue, 24 Nov 2026 00:00:00 GMT");
}

TEST(SmallServices, TellSandboxesAndUnions) {
  Platform platform;
  // The list of sandboxes is not asked for in a sandbox.
  const Response sandboxes =
      platform.send("GET", "/data/foundation/sandbox-management/sandboxes", without(goodHeaders(), "x-sandbox-name"));
  EXPECT_EQ(arrayIn(jsonIn(sandboxes), "sandboxes")->size(), 2U);

  const std::string unions = "/data/foundation/schemaregistry/tenant/unions";
  EXPECT_EQ(platform.get(unions).status, 400);
  Headers headers = goodHeaders();
  headers.emplace_back("Accept", "application/vnd.adobe.xed-id+json");
  const JsonObject union0 = arrayIn(jsonIn(platform.send("GET", unions, headers)), "results")->getObject(0);
  EXPECT_EQ(stringIn(union0, "$id"), "https://ns.adobe.com/xdm/context/profile__union");
}

}  // namespace
}  // namespace caiexport::simulator
