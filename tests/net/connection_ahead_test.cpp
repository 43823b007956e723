#include <gtest/gtest.h>

#include "net/connection.h"
#include "raw_server.h"

namespace caiexport::net {
namespace {

using testing::Event;

constexpr const char* kOrigin = "https://here";

std::unique_ptr<Connection> anyConnection() {
  return std::make_unique<Connection>(Poco::Net::StreamSocket());
}

TEST(ConnectionAheadTest, IsForTheFirstWhoAsksForOneToThere) {
  ConnectionAhead ahead;
  EXPECT_EQ(ahead.take(kOrigin, {}), nullptr);
  ahead.begin(kOrigin, [](const core::StopSignal&) { return anyConnection(); });
  EXPECT_EQ(ahead.take("https://elsewhere", {}), nullptr);
  EXPECT_NE(ahead.take(kOrigin, {}), nullptr);
  EXPECT_EQ(ahead.take(kOrigin, {}), nullptr);
}

TEST(ConnectionAheadTest, IsWaitedForUntilAStopRequest) {
  Event ended;
  ConnectionAhead ahead;
  ahead.begin(kOrigin, [&](const core::StopSignal&) {
    ended.wait();
    return anyConnection();
  });
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(ahead.take(kOrigin, stop.get_token()), core::Interrupted);
  EXPECT_EQ(ahead.take(kOrigin, {}), nullptr) << "it was given away";
  ended.set();
}

TEST(ConnectionAheadTest, OneThatNobodyTookIsGivenUpAtTheEnd) {
  Event stopped;
  {
    ConnectionAhead ahead;
    ahead.begin(kOrigin, [&](const core::StopSignal& stop) {
      const std::stop_callback tell(stop.token(), [&] { stopped.set(); });
      stopped.wait();
      stop.check();
      return anyConnection();
    });
  }
  EXPECT_TRUE(stopped.wait());
}

}  // namespace
}  // namespace caiexport::net
