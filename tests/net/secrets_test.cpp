/// A server, or a proxy, that repeats secrets.

#include "net/fixture.h"

namespace caiexport::net {
namespace {

using testing::answering;
using testing::answeringOnce;
using testing::calmSettings;
using testing::CollectingSink;
using testing::failureOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Peer;
using testing::RawServer;
using testing::RecordingLog;

class SecretsTest : public ::testing::Test {
 protected:
  SecretsTest() { transport.keepSecret("CANARY/secret"); }
  RecordingLog log;
  PocoTransport transport{calmSettings(), log};
};

TEST_F(SecretsTest, StayBehindTheGate) {
  const RawServer server(answering(
      "HTTP/1.1 403 no CANARY/secret\r\nX-Request-Id: CANARY%2fsecret\r\nContent-Length: 14\r\n\r\nCANARY\\/secret"));
  const HttpResponse response = transport.send({.url = server.url()}, {});
  EXPECT_EQ(response.reason, "no ***");
  EXPECT_EQ(response.headers.get("x-request-id"), "***");
  EXPECT_EQ(response.body, "***");
}

TEST_F(SecretsTest, StayBehindItInMessagesOfFailures) {
  for (const char* answer :
       {"CANARY/secret is no status line\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: CANARY/secret\r\n\r\n"}) {
    const RawServer server(answeringOnce(answer));
    const auto failure = failureOf([&] { transport.send({.url = server.url()}, {}); });
    EXPECT_THAT(failure.message, HasSubstr("***"));
    EXPECT_THAT(failure.message, Not(HasSubstr("CANARY")));
  }
  for (const std::string& line : log.lines()) EXPECT_THAT(line, Not(HasSubstr("CANARY")));
}

TEST_F(SecretsTest, LetDataAndTokensPass) {
  const RawServer server(answering("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nCANARY/secret"));
  CollectingSink sink;
  transport.send({.url = server.url()}, &sink, {});
  EXPECT_EQ(sink.bytes, "CANARY/secret") << "a file's bytes are as the server sent them";
  EXPECT_EQ(transport.send({.url = server.url(), .answersSecret = true}, {}).body, "CANARY/secret");
  EXPECT_EQ(transport.send({.url = server.url()}, {}).body, "***");
}

TEST(ProxySecretsTest, AreNotRepeatedByTheProxy) {
  for (const char* repeated : {"gehe%2Fim-passwort", "gehe/im-passwort", "bWU6Z2VoZS9pbS1wYXNzd29ydA=="}) {
    const RawServer proxy(
        answeringOnce(std::string("HTTP/1.1 403 not with ") + repeated + "\r\nContent-Length: 0\r\n\r\n"));
    RecordingLog log;
    TransportSettings settings = calmSettings();
    settings.proxy = {.httpsProxy = "http://me:gehe%2Fim-passwort@127.0.0.1:" + std::to_string(proxy.port()),
                      .noProxy = {}};
    PocoTransport transport(settings, log);
    const auto failure = failureOf([&] { transport.send({.url = "https://platform.example/"}, {}); });
    EXPECT_THAT(failure.message, HasSubstr("403 not with ***"));
    EXPECT_THAT(log.lines().back(), HasSubstr("403 not with ***"));
  }
}

}  // namespace
}  // namespace caiexport::net
