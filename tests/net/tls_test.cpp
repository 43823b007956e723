// The transport against a TLS server on loopback: who is trusted, and how bodies end.
#include <fstream>

#include "fixture.h"

namespace caiexport::net {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

class TlsTest : public ::testing::Test {
 protected:
  Failure failureWith(const Identity& identity) {
    RawServer server(answering(kHello), {.tls = makeServerContext(identity)});
    return failureOf([&] { get(transport_, server.url("/", "localhost")); });
  }

  PocoTransport transport_{calmSettings(), core::nullLog()};
};

void expectRefused(const Failure& failure, const std::string& reason) {
  EXPECT_EQ(failure.category, core::Category::config);
  EXPECT_FALSE(failure.transient);
  EXPECT_THAT(failure.message, HasSubstr(reason));
  EXPECT_NE(failure.hint, "");
}

TEST_F(TlsTest, TrustsTheGivenAuthority) {
  for (const char* host : {"localhost", "127.0.0.1"}) {
    RawServer server(answering(kHello), {.tls = goodServerContext()});
    EXPECT_EQ(get(transport_, server.url("/", host)).body, "hello") << host;
  }
}

TEST_F(TlsTest, ReachesAnIpv6Literal) {
  std::unique_ptr<RawServer> server;
  try {
    server = std::make_unique<RawServer>(answering(kHello),
                                         RawServer::Options{.tls = goodServerContext(), .address = "::1"});
  } catch (const std::runtime_error&) {
    GTEST_SKIP() << "no IPv6 here";
  }
  EXPECT_EQ(get(transport_, server->url("/", "[::1]")).body, "hello");
}

TEST_F(TlsTest, ReusesConnections) {
  RawServer server(answering(kHello), {.tls = goodServerContext()});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(get(transport_, server.url()).body, "hello");
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(TlsTest, AnExpectedConnectionIsOpenBeforeItsRequestAndServesIt) {
  Event open;
  RawServer server(
      [&](Peer& peer) {
        open.set();
        answering(kHello)(peer);
      },
      {.tls = goodServerContext()});
  transport_.expect(server.url());
  ASSERT_TRUE(open.wait());
  EXPECT_EQ(get(transport_, server.url()).body, "hello");
  EXPECT_EQ(get(transport_, server.url()).body, "hello");
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(transport_.statistics().connectionsOpened, 1U);
}

TEST_F(TlsTest, ARequestWaitsForTheConnectionThatIsExpected) {
  Event arrived;
  Event release;
  RawServer server(answering(kHello), {.tls = goodServerContext(), .beforeTls = [&](Peer&) {
                                         arrived.set();
                                         release.wait();
                                       }});
  transport_.expect(server.url());
  ASSERT_TRUE(arrived.wait());
  // Another one would be refused.
  server.stopListening();
  std::string body;
  std::jthread request([&] { body = get(transport_, server.url()).body; });
  release.set();
  request.join();
  EXPECT_EQ(body, "hello");
}

TEST_F(TlsTest, WhatAnExpectedConnectionFailsForIsTheFailureOfItsRequest) {
  RawServer server(answering(kHello), {.tls = goodServerContext(), .beforeTls = [](Peer& peer) {
                                         if (peer.number() == 1) peer.cut();
                                       }});
  transport_.expect(server.url());
  const Failure failure = failureOf([&] { get(transport_, server.url()); });
  EXPECT_TRUE(failure.transient);
  EXPECT_FALSE(failure.mayHaveArrived);
  EXPECT_THAT(failure.message, HasSubstr("GET " + server.url()));
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(get(transport_, server.url()).body, "hello");
}

TEST_F(TlsTest, AnExpectedConnectionThatWasClosedIsReplaced) {
  RawServer server(
      [](Peer& peer) {
        if (peer.number() > 1) answering(kHello)(peer);
      },
      {.tls = goodServerContext()});
  transport_.expect(server.url());
  EXPECT_EQ(get(transport_, server.url()).body, "hello");
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(TlsTest, WhatMustGoOutOnAFreshConnectionTakesNoExpectedOne) {
  Event open;
  RawServer server(
      [&](Peer& peer) {
        open.set();
        for (std::string request; !(request = peer.readRequest()).empty();) {
          EXPECT_EQ(peer.number(), 2);
          peer.send(kHello);
        }
      },
      {.tls = goodServerContext()});
  transport_.expect(server.url());
  ASSERT_TRUE(open.wait());
  EXPECT_EQ(transport_.send({.method = "POST", .url = server.url(), .once = true}, {}).body, "hello");
}

TEST_F(TlsTest, WaitingForAnExpectedConnectionObeysAStopRequest) {
  Event arrived;
  RawServer server(answering(kHello), {.tls = goodServerContext(), .beforeTls = [&](Peer& peer) {
                                         arrived.set();
                                         peer.readToEnd();
                                       }});
  transport_.expect(server.url());
  ASSERT_TRUE(arrived.wait());
  std::stop_source stop;
  std::jthread later([&] { stop.request_stop(); });
  EXPECT_THROW(transport_.send({.url = server.url()}, stop.get_token()), core::Interrupted);
}

TEST_F(TlsTest, NamesTheHostInTheHandshake) {
  std::string asked;
  ServerContextPtr context = goodServerContext();
  SSL_CTX_set_tlsext_servername_arg(context.get(), &asked);
  SSL_CTX_set_tlsext_servername_callback(
      context.get(), +[](SSL* ssl, int*, void* argument) {
        const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        *static_cast<std::string*>(argument) = name != nullptr ? name : "";
        return SSL_TLSEXT_ERR_OK;
      });
  {
    RawServer server(answering(kHello), {.tls = std::move(context)});
    get(transport_, server.url("/", "localhost"));
  }
  EXPECT_EQ(asked, "localhost");
}

TEST_F(TlsTest, RefusesAnotherHostsCertificate) {
  expectRefused(failureWith(testAuthority().issue({.altNames = "DNS:example.com"})),
                "is for another host than localhost");
}

TEST_F(TlsTest, RefusesANameCertificateForAnAddress) {
  RawServer server(answering(kHello),
                   {.tls = makeServerContext(testAuthority().issue({.altNames = "DNS:localhost,IP:127.0.0.9"}))});
  expectRefused(failureOf([&] { get(transport_, server.url()); }), "is for another host than 127.0.0.1");
}

TEST_F(TlsTest, RefusesACommonNameWithoutAnAlternativeName) {
  // What old programs went by: RFC 9525 has put an end to it.
  RawServer server(answering(kHello), {.tls = makeServerContext(testAuthority().issue({.altNames = ""}, "localhost"))});
  expectRefused(failureOf([&] { get(transport_, server.url("/", "localhost")); }),
                "is for another host than localhost");
  RawServer address(answering(kHello),
                    {.tls = makeServerContext(testAuthority().issue({.altNames = ""}, "127.0.0.1"))});
  expectRefused(failureOf([&] { get(transport_, address.url()); }), "is for another host than 127.0.0.1");
}

TEST_F(TlsTest, RefusesAnExpiredCertificate) {
  expectRefused(failureWith(testAuthority().issue({.beginsInSeconds = -7200, .endsInSeconds = -3600})), "has expired");
}

TEST_F(TlsTest, RefusesAFutureCertificate) {
  expectRefused(failureWith(testAuthority().issue({.beginsInSeconds = 3600, .endsInSeconds = 7200})), "not valid yet");
}

TEST_F(TlsTest, RefusesASelfSignedCertificate) {
  const Failure failure = failureWith(makeIdentity("server"));
  expectRefused(failure, "self-signed");
  EXPECT_THAT(failure.hint, HasSubstr("--ca-file"));
}

TEST_F(TlsTest, RefusesAnUnknownAuthority) {
  for (const char* name : {"other authority", "test authority"}) {
    const Authority other(name);
    const Failure failure = failureWith(other.issue());
    expectRefused(failure, "authority that is not trusted");
    EXPECT_THAT(failure.hint, HasSubstr("--ca-file"));
  }
}

TEST_F(TlsTest, TrustsOnlyTheSystemsAuthoritiesWithoutACaFile) {
  RawServer server(answering(kHello), {.tls = goodServerContext()});
  TransportSettings settings = calmSettings();
  settings.caFile.reset();
  PocoTransport transport(settings, core::nullLog());
  expectRefused(failureOf([&] { get(transport, server.url()); }), "authority that is not trusted");
}

TEST_F(TlsTest, SendsNothingToARefusedServer) {
  std::string received;
  {
    RawServer server([&](Peer& peer) { received = peer.readToEnd(); },
                     {.tls = makeServerContext(testAuthority().issue({.altNames = "DNS:other"}))});
    failureOf([&] { get(transport_, server.url()); });
  }
  EXPECT_EQ(received, "");
}

TEST_F(TlsTest, KeepsHostsApartOnOneTransport) {
  RawServer server(answering(kHello), {.tls = makeServerContext(testAuthority().issue({.altNames = "DNS:localhost"}))});
  EXPECT_EQ(get(transport_, server.url("/", "localhost")).body, "hello");
  expectRefused(failureOf([&] { get(transport_, server.url("/", "127.0.0.1")); }), "another host");
  EXPECT_EQ(get(transport_, server.url("/", "localhost")).body, "hello");
}

// Poco 1.11 skips its name check when the handshake outlasts the connect timeout.
TEST_F(TlsTest, ChecksTheNameWhenTheHandshakeIsSlow) {
  Event clientGaveUp;
  std::string received;
  TransportSettings settings = calmSettings();
  settings.connectTimeout = std::chrono::milliseconds(300);
  {
    RawServer server([&](Peer& peer) { received = peer.readToEnd(); },
                     {.tls = makeServerContext(testAuthority().issue({.altNames = "DNS:other"})),
                      .beforeTls = [&](Peer&) { EXPECT_TRUE(clientGaveUp.wait()); }});
    PocoTransport transport(settings, core::nullLog());
    const Failure failure = failureOf([&] { get(transport, server.url()); });
    clientGaveUp.set();
    EXPECT_TRUE(failure.transient);
    EXPECT_FALSE(failure.mayHaveArrived);
    EXPECT_THAT(failure.message, HasSubstr("timed out in the TLS handshake"));
  }
  EXPECT_EQ(received, "");
}

TEST_F(TlsTest, ChecksTheNameWhenTheHandshakeComesInPieces) {
  // The server holds its handshake until the client's first message has come in full, so the client has to wait in
  // between whatever the machine's load.
  std::string received;
  {
    RawServer server(
        [&](Peer& peer) { received = peer.readToEnd(); },
        {.tls = makeServerContext(testAuthority().issue({.altNames = "DNS:other"})), .beforeTls = [](Peer& peer) {
           char byte = 0;
           EXPECT_EQ(::recv(peer.descriptor(), &byte, 1, MSG_PEEK), 1);
         }});
    expectRefused(failureOf([&] { get(transport_, server.url()); }), "another host");
  }
  EXPECT_EQ(received, "");
}

TEST_F(TlsTest, WantsTls12OrNewer) {
  ServerContextPtr old = goodServerContext();
  SSL_CTX_set_security_level(old.get(), 0);
  SSL_CTX_set_min_proto_version(old.get(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(old.get(), TLS1_1_VERSION);
  RawServer oldServer(answering(kHello), {.tls = std::move(old)});
  expectRefused(failureOf([&] { get(transport_, oldServer.url()); }), "TLS version");
  ServerContextPtr enough = goodServerContext();
  SSL_CTX_set_max_proto_version(enough.get(), TLS1_2_VERSION);
  RawServer server(answering(kHello), {.tls = std::move(enough)});
  EXPECT_EQ(get(transport_, server.url()).body, "hello");
}

TEST_F(TlsTest, SaysThatAServerSpeaksNoTls) {
  RawServer server([](Peer& peer) {
    peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    peer.readToEnd();
  });
  std::string url = server.url();
  url.replace(0, 4, "https");
  expectRefused(failureOf([&] { get(transport_, url); }), "does not speak TLS");
}

TEST_F(TlsTest, SaysThatTheHandshakeWasCut) {
  RawServer server(answering(kHello), {.tls = goodServerContext(), .beforeTls = [](Peer& peer) { peer.cut(); }});
  const Failure failure = failureOf([&] { get(transport_, server.url()); });
  EXPECT_TRUE(failure.transient);
  EXPECT_FALSE(failure.mayHaveArrived);
  EXPECT_THAT(failure.message, HasSubstr("TLS handshake"));
}

TEST_F(TlsTest, TellsAnOrderlyEndFromACut) {
  for (const bool orderly : {true, false}) {
    RawServer server(
        [&](Peer& peer) {
          peer.readRequest();
          peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
          if (orderly) peer.close();
        },
        {.tls = goodServerContext()});
    if (orderly) {
      EXPECT_EQ(get(transport_, server.url()).body, "hello");
    } else {
      const Failure failure = failureOf([&] { get(transport_, server.url()); });
      EXPECT_TRUE(failure.transient);
      EXPECT_THAT(failure.message, HasSubstr("without an orderly end"));
    }
  }
}

TEST_F(TlsTest, NeedsNoOrderlyEndOnceTheLengthIsComplete) {
  RawServer server(
      [](Peer& peer) {
        peer.readRequest();
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
      },
      {.tls = goodServerContext()});
  EXPECT_EQ(get(transport_, server.url()).body, "hello");
}

TEST_F(TlsTest, ReportsShortBodies) {
  for (const bool orderly : {true, false}) {
    RawServer server(
        [&](Peer& peer) {
          peer.readRequest();
          peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
          if (orderly) peer.close();
        },
        {.tls = goodServerContext()});
    EXPECT_THAT(failureOf([&] { get(transport_, server.url()); }).message, HasSubstr("after 5 of 10 bytes"));
  }
}

TEST_F(TlsTest, FindsAStaleConnectionBeforeUse) {
  Event closed;
  RawServer server(
      [&](Peer& peer) {
        peer.readRequest();
        peer.send(kHello);
        peer.cut();
        closed.set();
      },
      {.tls = goodServerContext()});
  get(transport_, server.url());
  ASSERT_TRUE(closed.wait());
  EXPECT_EQ(transport_.send({.method = "POST", .url = server.url()}, {}).body, "hello");
  EXPECT_EQ(transport_.statistics().requestsSent, 2U);
}

TEST_F(TlsTest, CarriesLargeBodiesUnchanged) {
  std::string body(5'000'000, '\0');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 2654435761U >> 13U);
  RawServer server(
      [&](Peer& peer) {
        for (std::string request; !(request = peer.readRequest()).empty();) {
          peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
          peer.send(body);
        }
      },
      {.tls = goodServerContext()});
  for (int i = 0; i < 2; ++i) {
    CollectingSink sink;
    transport_.send({.url = server.url()}, &sink, {});
    EXPECT_TRUE(sink.bytes == body);
  }
  EXPECT_EQ(server.connections(), 1);
}

// All of the body waits inside TLS's own buffer when the header is read; nothing more comes to wake a poll().
TEST_F(TlsTest, DoesNotSleepOnBytesThatTlsHasBuffered) {
  const std::string body(100'000, 'x');
  RawServer server(
      [&](Peer& peer) {
        peer.readRequest();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body);
        peer.readToEnd();
      },
      {.tls = goodServerContext()});
  TransportSettings settings = calmSettings();
  settings.readTimeout = std::chrono::seconds(5);
  PocoTransport transport(settings, core::nullLog());
  EXPECT_EQ(get(transport, server.url()).body, body);
}

TEST_F(TlsTest, TimesOutOnSilence) {
  RawServer server([](Peer& peer) { peer.readToEnd(); }, {.tls = goodServerContext()});
  TransportSettings settings = calmSettings();
  settings.readTimeout = std::chrono::seconds(2);
  PocoTransport transport(settings, core::nullLog());
  const auto start = std::chrono::steady_clock::now();
  const Failure failure = failureOf([&] { get(transport, server.url()); });
  const auto elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_THAT(failure.message, HasSubstr("timed out while waiting for the answer"));
  EXPECT_GE(elapsed, std::chrono::seconds(2));
  EXPECT_LT(elapsed, std::chrono::milliseconds(3900));
}

TEST_F(TlsTest, EndsAHandshakeOnStop) {
  std::stop_source source;
  RawServer server(answering(kHello), {.tls = goodServerContext(), .beforeTls = [&](Peer& peer) {
                                         char byte = 0;
                                         EXPECT_EQ(::recv(peer.descriptor(), &byte, 1, MSG_PEEK), 1);
                                         source.request_stop();
                                         std::array<char, 4096> rest{};
                                         while (::recv(peer.descriptor(), rest.data(), rest.size(), 0) > 0) continue;
                                       }});
  EXPECT_THROW(transport_.send({.url = server.url()}, source.get_token()), core::Interrupted);
}

TEST(CaFile, MustBeReadableAndHoldCertificates) {
  const support::TempDirectory folder;
  const std::filesystem::path garbage = folder.path() / "garbage.pem";
  std::ofstream(garbage) << "not a certificate\n";
  for (const std::filesystem::path& file : {folder.path() / "missing.pem", garbage}) {
    TransportSettings settings = calmSettings();
    settings.caFile = file;
    const Failure failure = failureOf([&] { PocoTransport(settings, core::nullLog()); });
    EXPECT_EQ(failure.category, core::Category::config);
    EXPECT_THAT(failure.message, HasSubstr(file.string()));
  }
}

TEST_F(TlsTest, ServesManyThreads) {
  RawServer server(answering(kHello), {.tls = goodServerContext()});
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 20; ++j) good += get(transport_, server.url()).body == "hello" ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 160);
  EXPECT_LE(server.connections(), 8);
}

}  // namespace
}  // namespace caiexport::net
