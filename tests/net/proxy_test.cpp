#include "net/connect.h"

#include <poll.h>

#include "fixture.h"

namespace caiexport::net {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ParseProxy, ReadsHostPortAndCredentials) {
  EXPECT_FALSE(parseProxy(""));
  const auto full = parseProxy("http://user:p%40ss%3A@Proxy.Corp:3128/");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->host, "proxy.corp");
  EXPECT_EQ(full->port, 3128);
  EXPECT_EQ(full->authorization.reveal(), "Basic dXNlcjpwQHNzOg==");
  const auto bare = parseProxy("proxy:8080");
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->host, "proxy");
  EXPECT_EQ(bare->port, 8080);
  EXPECT_TRUE(bare->authorization.empty());
  EXPECT_EQ(parseProxy("http://[::1]:3128")->host, "::1");
  EXPECT_EQ(parseProxy("http://proxy")->port, 80);
}

TEST(ParseProxy, RefusesWhatItCannotUseWithoutShowingIt) {
  for (const char* text : {"https://user:geheim@proxy:1", "socks5://geheim@proxy:1", "http://user:geheim@",
                           "http://user:geheim@proxy:port", "http://proxy:geheim", "http://user:geheim@proxy:1/path",
                           "http://user:geheim@pro xy:1", "http://", "http://user:geheim@proxy:0"}) {
    const Failure failure = failureOf([&] { parseProxy(text); });
    EXPECT_EQ(failure.category, core::Category::config) << text;
    EXPECT_THAT(failure.message + failure.hint, AllOf(HasSubstr("HTTPS_PROXY"), Not(HasSubstr("geheim")))) << text;
  }
}

struct NoProxyCase {
  std::string list;
  std::string host;
  std::uint16_t port;
  bool matches;
};

class NoProxyTest : public ::testing::TestWithParam<NoProxyCase> {};

TEST_P(NoProxyTest, Matches) {
  const NoProxyCase& c = GetParam();
  EXPECT_EQ(NoProxy(c.list).matches(c.host, c.port), c.matches) << c.list << " against " << c.host << ":" << c.port;
}

INSTANTIATE_TEST_SUITE_P(
    Rules, NoProxyTest,
    ::testing::Values(
        NoProxyCase{"", "a.corp", 443, false}, NoProxyCase{"*", "a.corp", 443, true},
        NoProxyCase{"a.corp", "a.corp", 443, true}, NoProxyCase{"A.Corp", "a.corp", 443, true},
        NoProxyCase{"corp", "a.corp", 443, true}, NoProxyCase{".corp", "a.corp", 443, true},
        NoProxyCase{".corp", "corp", 443, true}, NoProxyCase{"*.corp", "a.corp", 443, true},
        NoProxyCase{"corp", "acorp", 443, false}, NoProxyCase{"a.corp", "corp", 443, false},
        NoProxyCase{"x, a.corp ,y", "a.corp", 443, true}, NoProxyCase{"a.corp:8443", "a.corp", 8443, true},
        NoProxyCase{"a.corp:8443", "a.corp", 443, false}, NoProxyCase{"10.0.0.0/8", "10.1.2.3", 443, true},
        NoProxyCase{"10.0.0.0/8", "11.1.2.3", 443, false}, NoProxyCase{"10.1.2.128/25", "10.1.2.127", 443, false},
        NoProxyCase{"10.1.2.128/25", "10.1.2.129", 443, true}, NoProxyCase{"0.0.0.0/0", "9.9.9.9", 443, true},
        NoProxyCase{"10.0.0.0/33", "10.0.0.0", 443, false}, NoProxyCase{"10.0.0.0/x", "10.0.0.0", 443, false},
        NoProxyCase{"10.0.0.0/8", "10.corp", 443, false}, NoProxyCase{"127.0.0.1", "127.0.0.1", 443, true},
        NoProxyCase{"0.1", "127.0.0.1", 443, false}, NoProxyCase{"::1", "::1", 443, true},
        NoProxyCase{"[::1]", "::1", 443, true}, NoProxyCase{"[::1]:8443", "::1", 8443, true},
        NoProxyCase{"[::1]:8443", "::1", 443, false}, NoProxyCase{"fd00::/8", "fd12::1", 443, true},
        NoProxyCase{"x a.corp\ty", "a.corp", 443, true}, NoProxyCase{"x,  y a.corp", "y", 443, true},
        NoProxyCase{"a.corp.", "a.corp", 443, true}, NoProxyCase{"corp.", "a.corp.", 443, true},
        NoProxyCase{"a.corp.:8443", "a.corp", 8443, true}, NoProxyCase{".", "a.corp", 443, false},
        NoProxyCase{"127.0.0.1:8443", "127.0.0.1", 8443, true}));

TEST(ProxyFromEnvironment, NamesWhatItIgnores) {
  for (const char* name : {"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"})
    ::unsetenv(name);
  EXPECT_EQ(proxyFromEnvironment().ignored, "");
  ::setenv("HTTP_PROXY", "http://other:1", 1);
  EXPECT_EQ(proxyFromEnvironment().ignored, "HTTP_PROXY");
  ::setenv("ALL_PROXY", "socks5://other:1", 1);
  EXPECT_EQ(proxyFromEnvironment().ignored, "ALL_PROXY");
  ::setenv("HTTPS_PROXY", "http://used:1", 1);
  EXPECT_EQ(proxyFromEnvironment().ignored, "") << "it does not matter then";
  for (const char* name : {"HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY"}) ::unsetenv(name);
}

TEST(ProxyFromEnvironment, ReadsBothSpellings) {
  for (const char* name : {"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"}) ::unsetenv(name);
  EXPECT_EQ(proxyFromEnvironment().httpsProxy, "");
  ::setenv("https_proxy", "http://lower:1", 1);
  ::setenv("no_proxy", "a", 1);
  EXPECT_EQ(proxyFromEnvironment().httpsProxy, "http://lower:1");
  EXPECT_EQ(proxyFromEnvironment().noProxy, "a");
  ::setenv("HTTPS_PROXY", "http://upper:1", 1);
  EXPECT_EQ(proxyFromEnvironment().httpsProxy, "http://upper:1");
  for (const char* name : {"HTTPS_PROXY", "https_proxy", "no_proxy"}) ::unsetenv(name);
}

const std::string kHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Copies bytes both ways until one side ends.
void pump(int one, int other) {
  std::array<pollfd, 2> sides{pollfd{one, POLLIN, 0}, pollfd{other, POLLIN, 0}};
  std::array<char, 4096> piece{};
  while (::poll(sides.data(), sides.size(), -1) > 0) {
    for (std::size_t i = 0; i < sides.size(); ++i) {
      if (sides[i].revents == 0) continue;
      const ssize_t bytes = ::recv(sides[i].fd, piece.data(), piece.size(), 0);
      if (bytes <= 0 || ::send(sides[1 - i].fd, piece.data(), static_cast<std::size_t>(bytes), MSG_NOSIGNAL) != bytes)
        return;
    }
  }
}

/// A proxy that opens every tunnel to `port` on loopback, and notes what it was asked.
class TunnelProxy {
 public:
  explicit TunnelProxy(std::uint16_t port)
      : server_([this, port](Peer& peer) {
          note(peer.readRequest());
          peer.send("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
          const int target = ::socket(AF_INET, SOCK_STREAM, 0);
          sockaddr_in address{};
          address.sin_family = AF_INET;
          address.sin_port = htons(port);
          address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
          if (::connect(target, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
            pump(peer.descriptor(), target);
          ::close(target);
        }) {}

  std::string address(const std::string& userInfo = "") const {
    return "http://" + userInfo + "127.0.0.1:" + std::to_string(server_.port());
  }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void note(const std::string& request) {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }

  std::mutex mutex_;
  std::vector<std::string> requests_;
  RawServer server_;
};

TransportSettings through(const std::string& proxy, const std::string& noProxy = "") {
  TransportSettings settings = calmSettings();
  settings.proxy = {.httpsProxy = proxy, .noProxy = noProxy};
  return settings;
}

TEST(ProxyTunnel, CarriesHttpsAndIsReused) {
  RawServer server(answering(kHello), {.tls = goodServerContext()});
  TunnelProxy proxy(server.port());
  PocoTransport transport(through(proxy.address("user:pass@")), core::nullLog());
  EXPECT_EQ(get(transport, server.url("/", "localhost")).body, "hello");
  EXPECT_EQ(get(transport, server.url("/", "localhost")).body, "hello");
  ASSERT_EQ(proxy.requests().size(), 1U);
  const std::string authority = "localhost:" + std::to_string(server.port());
  EXPECT_EQ(proxy.requests()[0], "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority +
                                     "\r\nUser-Agent: caiexport\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n");
}

TEST(ProxyTunnel, SendsNoCredentialsUnlessGiven) {
  RawServer server(answering(kHello), {.tls = goodServerContext()});
  TunnelProxy proxy(server.port());
  PocoTransport transport(through(proxy.address()), core::nullLog());
  get(transport, server.url());
  ASSERT_EQ(proxy.requests().size(), 1U);
  EXPECT_THAT(proxy.requests()[0], Not(HasSubstr("Proxy-Authorization")));
}

TEST(ProxyTunnel, WritesIpv6TargetsInBrackets) {
  RawServer server(answering(kHello), {.tls = goodServerContext()});
  TunnelProxy proxy(server.port());
  PocoTransport transport(through(proxy.address()), core::nullLog());
  get(transport, "https://[::1]:8443/");
  ASSERT_EQ(proxy.requests().size(), 1U);
  EXPECT_THAT(proxy.requests()[0], HasSubstr("CONNECT [::1]:8443 HTTP/1.1\r\nHost: [::1]:8443\r\n"));
}

TEST(ProxyTunnel, VerifiesTheServerBehindIt) {
  RawServer server(answering(kHello), {.tls = makeServerContext(testAuthority().issue({.altNames = "DNS:other"}))});
  TunnelProxy proxy(server.port());
  PocoTransport transport(through(proxy.address()), core::nullLog());
  const Failure failure = failureOf([&] { get(transport, server.url("/", "localhost")); });
  EXPECT_EQ(failure.category, core::Category::config);
  EXPECT_THAT(failure.message, HasSubstr("another host than localhost"));
}

TEST(ProxyTunnel, IsAvoidedWhereNoProxySaysSo) {
  RawServer server(answering(kHello), {.tls = goodServerContext()});
  TunnelProxy proxy(server.port());
  PocoTransport transport(through(proxy.address(), "localhost"), core::nullLog());
  EXPECT_EQ(get(transport, server.url("/", "localhost")).body, "hello");
  EXPECT_EQ(proxy.requests().size(), 0U);
  EXPECT_EQ(get(transport, server.url("/", "127.0.0.1")).body, "hello");
  EXPECT_EQ(proxy.requests().size(), 1U);
}

TEST(ProxyTunnel, IsNotForPlainHttp) {
  RawServer server(answering(kHello));
  TunnelProxy proxy(server.port());
  PocoTransport transport(through(proxy.address()), core::nullLog());
  EXPECT_EQ(get(transport, server.url()).body, "hello");
  EXPECT_EQ(proxy.requests().size(), 0U);
}

Failure failureThroughProxyThat(RawServer::Handler handler, const std::string& userInfo = "") {
  RawServer proxy(std::move(handler));
  PocoTransport transport(through("http://" + userInfo + "127.0.0.1:" + std::to_string(proxy.port())), core::nullLog());
  return failureOf([&] { get(transport, "https://platform.adobe.io/"); });
}

TEST(ProxyTunnel, ExplainsThatTheProxyWantsALogin) {
  const std::string answer = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
  const Failure without = failureThroughProxyThat(answeringOnce(answer));
  EXPECT_EQ(without.category, core::Category::config);
  EXPECT_THAT(without.message,
              AllOf(HasSubstr("407 Proxy Authentication Required"), HasSubstr("through the proxy 127.0.0.1:")));
  EXPECT_THAT(without.hint, HasSubstr("HTTPS_PROXY"));
  const Failure with = failureThroughProxyThat(answeringOnce(answer), "user:geheim@");
  EXPECT_THAT(with.message + with.hint, AllOf(HasSubstr("check user and password"), Not(HasSubstr("geheim"))));
}

TEST(ProxyTunnel, TellsPassingRefusalsFromLastingOnes) {
  const Failure busy = failureThroughProxyThat(answeringOnce("HTTP/1.1 503 Busy\r\n\r\n"));
  EXPECT_TRUE(busy.transient);
  EXPECT_FALSE(busy.mayHaveArrived);
  EXPECT_THAT(busy.message, HasSubstr("503 Busy"));
  EXPECT_EQ(failureThroughProxyThat(answeringOnce("HTTP/1.1 403 Forbidden\r\n\r\n")).category, core::Category::config);
}

TEST(ProxyTunnel, RefusesBytesBeforeTheServersOwn) {
  const Failure failure = failureThroughProxyThat([](Peer& peer) {
    peer.readRequest();
    peer.send("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    peer.readToEnd();
  });
  EXPECT_EQ(failure.category, core::Category::protocol);
}

TEST(ProxyTunnel, ReportsAProxyThatHangsUpOrIsSilent) {
  const Failure closed = failureThroughProxyThat([](Peer& peer) { peer.readRequest(); });
  EXPECT_TRUE(closed.transient);
  EXPECT_FALSE(closed.mayHaveArrived);
  RawServer silent([](Peer& peer) { peer.readToEnd(); });
  TransportSettings settings = through("http://127.0.0.1:" + std::to_string(silent.port()));
  settings.connectTimeout = std::chrono::milliseconds(200);
  PocoTransport transport(settings, core::nullLog());
  EXPECT_THAT(failureOf([&] { get(transport, "https://platform.adobe.io/"); }).message,
              HasSubstr("waiting for the proxy's tunnel"));
}

TEST(ProxySettings, AreCheckedAtOnce) {
  EXPECT_EQ(failureOf([] { PocoTransport(through("ftp://x"), core::nullLog()); }).category, core::Category::config);
}

}  // namespace
}  // namespace caiexport::net
