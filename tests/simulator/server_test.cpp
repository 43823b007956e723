#include "simulator/server.h"

#include <gmock/gmock.h>

#include <chrono>

#include "caiexport/core/error.h"
#include "simulator/raw_client.h"
#include "support/process.h"

namespace caiexport::simulator {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;
using testing::StartsWith;

const Headers lastRequest = {{"Connection", "close"}};

struct ServerTest : testing::Test {
  Platform platform{R"({"batches": 1, "failed_batches": 0, "files": 2, "file_bytes": 300000})"};
  Server server{platform.world, {}};
  std::string file;

  void SetUp() override {
    const std::string batch = keysOf(jsonIn(platform.get(scoreBatches)))[0];
    platform.get("/data/foundation/export/batches/" + batch + "/files");
    const JsonObject page = jsonIn(platform.get("/data/foundation/export/files/" + batch + "-1"));
    file = targetOf(selfLink(arrayIn(page, "data")->getObject(0)));
  }

  /// One request on a connection of its own, under a fault that meets each request.
  Received receiveWith(const std::string& action, const Headers& more = lastRequest) {
    platform.world.change(R"({"faults": [{"times": -1, "do": )" + action + "}]}");
    RawClient client(server.port());
    client.send("GET", file, more);
    return client.receive();
  }

  std::string wholeFile() {
    platform.world.change(R"({"faults": []})");
    return bodyText(platform.get(file));
  }
};

TEST_F(ServerTest, ServesTheWorldAndKeepsTheConnection) {
  RawClient client(server.port());
  const std::string whole = wholeFile();
  for (int number = 0; number < 3; ++number) {
    client.send("GET", file, {{"Range", "bytes=10-19"}});
    const Received received = client.receiveOne();
    EXPECT_THAT(received.head(), StartsWith("HTTP/1.1 206 Partial Content\r\n"));
    EXPECT_THAT(received.head(), HasSubstr("Content-Range: bytes 10-19/300000\r\n"));
  }
  client.send("GET", file, lastRequest);
  const Received last = client.receive();
  EXPECT_TRUE(last.body() == whole);
  EXPECT_EQ(last.end, End::closed);
  EXPECT_EQ(platform.world.statistics().connections, 1U);
  EXPECT_GE(platform.world.statistics().fileBytesServed, 300030U);
}

TEST_F(ServerTest, HeadHasALengthAndNoBody) {
  RawClient client(server.port());
  client.send("HEAD", file, lastRequest);
  const Received received = client.receive();
  EXPECT_THAT(received.head(), HasSubstr("Content-Length: 300000\r\n"));
  EXPECT_EQ(received.body(), "");
}

TEST_F(ServerTest, TakesABodyAndAnswersTheNextRequestToo) {
  RawClient client(server.port());
  client.send("POST", "/ims/token/v3", {{"Content-Type", "application/x-www-form-urlencoded"}},
              "grant_type=client_credentials&client_id=sim-client&client_secret=sim-secret&scope=openid");
  EXPECT_THAT(client.receiveOne().bytes, HasSubstr("access_token"));
  client.send("POST", "/nowhere", {{"Content-Type", "text/plain"}}, "a body that nobody reads");
  EXPECT_THAT(client.receiveOne().bytes, StartsWith("HTTP/1.1 404"));
  client.send("GET", scoreBatches, lastRequest);
  EXPECT_THAT(client.receive().bytes, StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, LinksLeadToThisServer) {
  RawClient client(server.port());
  client.send("GET", file.substr(0, file.find('?')), lastRequest);
  EXPECT_THAT(client.receive().body(), HasSubstr("http://sim.test:8443/data/foundation/export/files/"));
}

TEST_F(ServerTest, ConnectionsThatEndWithoutAnAnswer) {
  EXPECT_EQ(receiveWith(R"({"reset_before_headers": true})").end, End::reset);
  const Received closed = receiveWith(R"({"close_without_answer": true})");
  EXPECT_EQ(closed.end, End::closed);
  EXPECT_EQ(closed.bytes, "");
}

TEST_F(ServerTest, BodiesThatEndEarly) {
  const std::string whole = wholeFile();
  const Received cut = receiveWith(R"({"short_body": 1000})");
  EXPECT_EQ(cut.end, End::closed);
  EXPECT_THAT(cut.head(), HasSubstr("Content-Length: 300000\r\n"));
  EXPECT_EQ(cut.body(), whole.substr(0, 1000));
  // A reset may overtake what was sent before it.
  const Received reset = receiveWith(R"({"reset_in_body": 1000})");
  EXPECT_EQ(reset.end, End::reset);
  EXPECT_LE(reset.bytes.size(), reset.head().size() + 2 + 1000);
}

TEST_F(ServerTest, BodiesThatAreTooLong) {
  const Received received = receiveWith(R"({"long_body": 10})");
  EXPECT_THAT(received.head(), HasSubstr("Content-Length: 300000\r\n"));
  EXPECT_EQ(received.body().size(), 300010U);
  EXPECT_EQ(received.end, End::closed);
}

TEST_F(ServerTest, ChunkedWholeAndCut) {
  const Received whole = receiveWith(R"({"chunked": true})");
  EXPECT_THAT(whole.head(), HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(whole.head(), testing::Not(HasSubstr("Content-Length")));
  EXPECT_THAT(whole.bytes, testing::EndsWith("\r\n0\r\n\r\n"));
  const Received cut = receiveWith(R"({"truncated_chunked": true})");
  EXPECT_THAT(cut.bytes, testing::Not(testing::EndsWith("0\r\n\r\n")));
  EXPECT_EQ(cut.end, End::closed);
}

TEST_F(ServerTest, InterimAnswers) {
  const Received received = receiveWith(R"({"interim_1xx": {"status": 103, "count": 2}})");
  EXPECT_THAT(received.bytes, StartsWith("HTTP/1.1 103"));
  const std::string afterTwo = received.bytes.substr(received.bytes.find("HTTP/1.1 200"));
  EXPECT_THAT(afterTwo, HasSubstr("Content-Length: 300000\r\n"));
}

TEST_F(ServerTest, StaleKeepAlive) {
  const Received received = receiveWith(R"({"stale_keep_alive": true})", {});
  EXPECT_THAT(received.head(), HasSubstr("Connection: Keep-Alive\r\n"));
  EXPECT_EQ(received.body().size(), 300000U);
  EXPECT_EQ(received.end, End::closed);
}

TEST_F(ServerTest, StallsThatPass) {
  const auto begun = steady_clock::now();
  const Received body = receiveWith(R"({"stall_body": 1000, "stall_ms": 100})");
  EXPECT_EQ(body.body().size(), 300000U);
  EXPECT_GE(steady_clock::now() - begun, milliseconds(100));
  const Received headers = receiveWith(R"({"stall_headers": true, "stall_ms": 50, "carry_out": true})");
  EXPECT_EQ(headers.body().size(), 300000U);
  EXPECT_GE(steady_clock::now() - begun, milliseconds(150));
}

TEST_F(ServerTest, StallsLastUntilTheClientLeaves) {
  platform.world.change(R"({"faults": [{"times": -1, "do": {"stall_body": 1000}}]})");
  RawClient client(server.port());
  client.send("GET", file);
  const Received begun = client.receiveHeadAnd(1000);
  EXPECT_EQ(begun.body().size(), 1000U);
  EXPECT_FALSE(client.hears(Poco::Timespan(0, 100000)));
  client.close();
  EXPECT_TRUE(support::eventually([&] { return platform.world.statistics().requestsInFlight == 0; }));
}

TEST_F(ServerTest, DripsAndCuts) {
  const auto begun = steady_clock::now();
  EXPECT_EQ(receiveWith(R"({"drip": 1500000})").body().size(), 300000U);
  EXPECT_GE(steady_clock::now() - begun, milliseconds(190));
  const Received cut = receiveWith(R"({"drip": 100000, "cut_after_ms": 200})");
  EXPECT_EQ(cut.end, End::closed);
  EXPECT_GT(cut.body().size(), 0U);
  EXPECT_LT(cut.body().size(), 300000U);
}

TEST_F(ServerTest, TheCutDoesNotWaitForASlowReader) {
  platform.world.change(
      R"({"batches": 1, "file_bytes": 100000000, "faults": [{"times": -1, "do": {"cut_after_ms": 100}}]})");
  const std::string batch = keysOf(jsonIn(platform.get(scoreBatches)))[0];
  platform.get("/data/foundation/export/batches/" + batch + "/files");
  const JsonObject page = jsonIn(platform.get("/data/foundation/export/files/" + batch + "-1"));
  RawClient client(server.port());
  client.send("GET", targetOf(selfLink(arrayIn(page, "data")->getObject(0))));
  // Nothing is read, so the sender's buffers fill up; it must let go all the same.
  EXPECT_TRUE(support::eventually([&] { return platform.world.statistics().requestsInFlight == 1; }));
  EXPECT_TRUE(support::eventually([&] { return platform.world.statistics().requestsInFlight == 0; }));
  EXPECT_LT(client.receive().bytes.size(), 100000000U);
}

TEST_F(ServerTest, ServesManyAtOnceAndStopsUnderThem) {
  platform.world.change(R"({"faults": [{"match": {"path": "path="}, "times": -1, "do": {"stall_body": 10}}]})");
  auto second = std::make_unique<Server>(platform.world, ServerOptions{});
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int number = 0; number < 100; ++number) {
    clients.push_back(std::make_unique<RawClient>(second->port()));
    clients.back()->send("GET", file);
  }
  for (const auto& client : clients) {
    EXPECT_GT(client->receive(1).bytes.size(), 0U);
  }
  EXPECT_EQ(platform.world.statistics().mostInFlight, 100U);
  second.reset();
  for (const auto& client : clients) {
    EXPECT_NE(client->receive().end, End::open);
  }
}

TEST_F(ServerTest, NonsenseEndsTheConnectionOnly) {
  Poco::Net::StreamSocket socket(Poco::Net::SocketAddress("127.0.0.1", server.port()));
  const std::string nonsense = "\r\n\r\n\x01\xff nonsense\r\n\r\n";
  socket.sendBytes(nonsense.data(), static_cast<int>(nonsense.size()));
  socket.shutdownSend();
  RawClient client(server.port());
  client.send("GET", scoreBatches, lastRequest);
  EXPECT_THAT(client.receive().bytes, StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, APortInUseIsSaid) {
  try {
    const Server other(platform.world, {.port = server.port()});
    FAIL() << "two servers on one port";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::io);
    EXPECT_THAT(error.what(), HasSubstr(std::to_string(server.port())));
  }
}

TEST(Ipv6, IsServed) {
  Platform platform;
  const Server server(platform.world, {.host = "::1"});
  EXPECT_THAT(server.url(), StartsWith("http://[::1]:"));
  const Poco::Net::StreamSocket socket(Poco::Net::SocketAddress("::1", server.port()));
}

}  // namespace
}  // namespace caiexport::simulator
