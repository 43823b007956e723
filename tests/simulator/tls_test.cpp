#include <Poco/Net/SSLException.h>
#include <Poco/Net/SSLManager.h>
#include <gmock/gmock.h>

#include <chrono>
#include <fstream>

#include "caiexport/core/error.h"
#include "net/certificates.h"
#include "simulator/raw_client.h"
#include "simulator/server.h"
#include "support/temp_directory.h"

namespace caiexport::simulator {
namespace {

using Poco::Net::Context;

struct TlsTest : testing::Test {
  support::TempDirectory folder;
  Platform platform;
  ServerOptions options;

  static void SetUpTestSuite() { Poco::Net::initializeSSL(); }
  static void TearDownTestSuite() { Poco::Net::uninitializeSSL(); }

  void SetUp() override {
    const net::testing::Identity identity = net::testing::makeIdentity("simulator");
    options.certificateFile = (folder / "cert.pem").string();
    options.keyFile = (folder / "key.pem").string();
    const std::unique_ptr<BIO, net::testing::Freer<BIO_free_all>> certificate(
        BIO_new_file(options.certificateFile.c_str(), "w"));
    const std::unique_ptr<BIO, net::testing::Freer<BIO_free_all>> key(BIO_new_file(options.keyFile.c_str(), "w"));
    PEM_write_bio_X509(certificate.get(), identity.certificate.get());
    PEM_write_bio_PrivateKey(key.get(), identity.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  }

  /// Trusts the simulator's certificate alone.
  Context::Ptr clientContext() const {
    return new Context(Context::TLS_CLIENT_USE, "", "", options.certificateFile, Context::VERIFY_STRICT, 9, false);
  }
};

TEST_F(TlsTest, ServesAndCountsHandshakes) {
  const Server server(platform.world, options);
  EXPECT_THAT(server.url(), testing::StartsWith("https://127.0.0.1:"));
  RawClient client(server.port(), clientContext());
  client.send("GET", scoreBatches);
  EXPECT_THAT(client.receiveOne().bytes, testing::StartsWith("HTTP/1.1 200"));
  client.send("GET", scoreBatches, {{"Connection", "close"}});
  EXPECT_EQ(client.receive().end, End::closed);
  EXPECT_EQ(platform.world.statistics().handshakes, 1U);
}

TEST_F(TlsTest, AnOrderlyEndAndAReset) {
  const Server server(platform.world, options);
  const auto endWith = [&](const std::string& action) {
    platform.world.change(R"({"faults": [{"times": -1, "do": )" + action + "}]}");
    RawClient client(server.port(), clientContext());
    client.send("GET", scoreBatches);
    return client.receive().end;
  };
  EXPECT_EQ(endWith(R"({"short_body": 10})"), End::closed);
  EXPECT_EQ(endWith(R"({"reset_in_body": 10})"), End::reset);
}

TEST_F(TlsTest, OldVersionsOnly) {
  options.tlsMax = "1.1";
  const Server server(platform.world, options);
  Context::Ptr context = clientContext();
  context->requireMinimumProtocol(Context::PROTO_TLSV1_2);
  EXPECT_THROW(RawClient(server.port(), context).send("GET", "/"), Poco::Net::SSLException);
}

TEST_F(TlsTest, NewVersionsOnly) {
  options.tlsMin = "1.3";
  const Server server(platform.world, options);
  Context::Ptr old = clientContext();
  old->disableProtocols(Context::PROTO_TLSV1_3);
  EXPECT_THROW(RawClient(server.port(), old).send("GET", "/"), Poco::Net::SSLException);
  RawClient client(server.port(), clientContext());
  client.send("GET", scoreBatches);
  EXPECT_THAT(client.receiveOne().bytes, testing::StartsWith("HTTP/1.1 200"));
}

TEST_F(TlsTest, TheHandshakeMayBeSlow) {
  options.handshakeDelay = std::chrono::milliseconds(100);
  const Server server(platform.world, options);
  const auto begun = std::chrono::steady_clock::now();
  RawClient client(server.port(), clientContext());
  client.send("GET", scoreBatches);
  EXPECT_THAT(client.receiveOne().bytes, testing::StartsWith("HTTP/1.1 200"));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(100));
}

TEST_F(TlsTest, ABadKeyIsSaid) {
  std::ofstream(options.keyFile) << "no key";
  try {
    const Server server(platform.world, options);
    FAIL() << "served without a key";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::config);
    EXPECT_THAT(error.what(), testing::HasSubstr(options.keyFile));
  }
}

}  // namespace
}  // namespace caiexport::simulator
