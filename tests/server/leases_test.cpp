#include "caiexport/store/leases.h"

#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "caiexport/core/text.h"
#include "server/doubt_proxy.h"
#include "server/server_fixture.h"
#include "support/process.h"

namespace caiexport::store {
namespace {

using core::Category;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

using LeasesTest = ServerTest;

/// What anybody else who asked for the lock would have to wait for.
void expire(const std::function<void(const std::string&)>& execute, Host& host) {
  execute("UPDATE worker SET until = 1 WHERE id = " + std::to_string(host.leases.worker()));
}

bool isRequestedWithin(const std::stop_token& token, core::Duration limit) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, token, limit, [&] { return token.stop_requested(); });
  return token.stop_requested();
}

TEST_F(LeasesTest, OneHoldsItAndTheOtherHearsWho) {
  const auto one = host();
  const auto other = host();
  EXPECT_FALSE(one->leases.tryLock(7));
  EXPECT_FALSE(one->leases.tryLock(7)) << "its own, as with locks of the kernel";
  EXPECT_EQ(one->leases.holder(7), static_cast<int>(::getpid()));
  EXPECT_TRUE(other->leases.tryLock(7));
  EXPECT_EQ(other->leases.holder(7), 0) << "not a process that this host could ask";
  EXPECT_THAT(other->leases.nameOfHolder(7), HasSubstr("process " + std::to_string(::getpid()) + " on "));
  EXPECT_FALSE(other->leases.tryLock(8)) << "another number";
  one->leases.unlock(7);
  EXPECT_FALSE(other->leases.holder(7));
  EXPECT_FALSE(other->leases.tryLock(7));
}

TEST_F(LeasesTest, WhoEndsGivesAllBackAtOnce) {
  auto one = host();
  ASSERT_FALSE(one->leases.tryLock(7));
  ASSERT_FALSE(one->leases.tryLock(8));
  one.reset();
  const auto other = host();
  EXPECT_FALSE(other->leases.tryLock(7));
  EXPECT_FALSE(other->leases.tryLock(8));
  EXPECT_EQ(number("SELECT count(*) FROM worker"), 1);
}

TEST_F(LeasesTest, LooksWithoutTakingAnything) {
  const auto one = host();
  ASSERT_FALSE(one->leases.tryLock(7));
  Database database(location(), Database::Mode::readOnly);
  Leases look(database, Leases::Use::look);
  EXPECT_TRUE(look.tryLock(7));
  EXPECT_FALSE(look.tryLock(8));
  EXPECT_FALSE(look.holder(8));
  EXPECT_EQ(number("SELECT count(*) FROM worker"), 1);
}

TEST_F(LeasesTest, AHolderThatIsAliveKeepsItForLongerThanALease) {
  const auto one = host(milliseconds(600));
  const auto other = host();
  ASSERT_FALSE(one->leases.tryLock(7));
  const std::int64_t first = number("SELECT min(until) FROM worker");
  while (number("SELECT min(until) FROM worker") < first + 1200) {
    ASSERT_TRUE(other->leases.tryLock(7));
    std::this_thread::yield();
  }
  EXPECT_FALSE(one->leases.lost().stop_requested());
  newJob(*one);
}

TEST_F(LeasesTest, ARenewalOutlivesItsConnection) {
  const auto one = host(seconds(3));
  ASSERT_FALSE(one->leases.tryLock(7));
  // All but this one, as a restart does.
  Postgres beside(Location::ofServer("postgresql:///"), Postgres::Access::readWrite);
  beside.runAll(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
      " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
  const auto until = [&] {
    PostgresQuery row(beside, "SELECT max(until) FROM " + schema_.name() + ".worker");
    return row.next() ? row.integer(0) : 0;
  };
  const std::int64_t before = until();
  EXPECT_TRUE(support::eventually([&] { return until() > before; }));
  EXPECT_FALSE(one->leases.lost().stop_requested());
  newJob(*one);
}

TEST_F(LeasesTest, WhoWasLateLosesAllAndCanWriteNothingAnyMore) {
  const auto late = host(seconds(2));
  const auto other = host();
  const model::JobId job = newJob(*late).id;
  ASSERT_FALSE(late->leases.tryLock(1));
  ASSERT_FALSE(late->leases.tryLock(2));
  expire([&](const std::string& sql) { execute(sql); }, *late);
  EXPECT_FALSE(other->leases.tryLock(1)) << "taken over";
  EXPECT_NE(late->leases.worker(), other->leases.worker());

  const core::Error refused = errorOf([&] { late->store.beginAttempt(job, model::StepName::selectBatches); });
  EXPECT_EQ(refused.category(), Category::unavailable);
  EXPECT_EQ(core::exitCodeOf(refused.category()), 7);
  EXPECT_THAT(refused.hint(), HasSubstr("the same command goes on"));
  EXPECT_TRUE(isRequestedWithin(late->leases.lost(), seconds(20))) << "it is told to stop";
  EXPECT_EQ(errorOf([&] { late->store.addEvent(job, {}, "x", "y"); }).category(), Category::unavailable) << "for good";
  EXPECT_EQ(errorOf([&] { late->leases.tryLock(2); }).category(), Category::unavailable) << "not even what is free";

  EXPECT_EQ(number("SELECT attempts FROM step WHERE position = 0"), 0);
  other->store.beginAttempt(job, model::StepName::selectBatches);
  // Nothing of the other's goes when the late one ends.
  late->leases.unlock(1);
  EXPECT_EQ(other->leases.holder(1), static_cast<int>(::getpid()));
  EXPECT_EQ(number("SELECT count(*) FROM lease WHERE number = 1"), 1);
}

TEST_F(LeasesTest, WhatWasTakenIsFoundOutBeforeTheNextRenewal) {
  const auto one = host();
  ASSERT_FALSE(one->leases.tryLock(7));
  one->leases.check();
  EXPECT_FALSE(one->leases.lost().stop_requested());
  EXPECT_EQ(number("WITH gone AS (DELETE FROM worker RETURNING 1) SELECT count(*) FROM gone"), 1);
  one->leases.check();
  EXPECT_TRUE(one->leases.lost().stop_requested());
}

TEST_F(LeasesTest, AnExpiredOneIsLostEvenIfNobodyTookIt) {
  const auto late = host();
  ASSERT_FALSE(late->leases.tryLock(1));
  const std::int64_t before = late->leases.worker();
  expire([&](const std::string& sql) { execute(sql); }, *late);
  EXPECT_EQ(errorOf([&] { newJob(*late); }).category(), Category::unavailable);
  EXPECT_EQ(number("SELECT count(*) FROM job"), 0);
  const auto again = host();
  EXPECT_FALSE(again->leases.tryLock(1));
  EXPECT_GT(again->leases.worker(), before) << "no number twice";
}

/// The lease runs out while its holder commits: who takes over waits for the end of that, and sees what it wrote.
TEST_F(LeasesTest, WhoTakesOverWaitsForWhatIsBeingWritten) {
  const auto first = host();
  const model::JobId job = newJob(*first).id;
  ASSERT_FALSE(first->leases.tryLock(1));
  std::future<std::int64_t> taken;
  {
    Transaction writing(first->database, Transaction::Kind::writing);
    expire([&](const std::string& sql) { execute(sql); }, *first);
    taken = std::async(std::launch::async, [&] {
      const auto other = host();
      if (other->leases.tryLock(1)) return std::int64_t{-1};
      return std::int64_t{other->store.load(job).cancelRequested ? 1 : 0};
    });
    // Nobody but the one who takes over waits for a row of this schema.
    while (number("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                  " AND query LIKE '%DELETE FROM worker%' AND pid <> pg_backend_pid()") == 0) {
      ASSERT_EQ(taken.wait_for(milliseconds(0)), std::future_status::timeout) << "it did not wait";
    }
    Query(first->database, "UPDATE job SET cancel_requested = 1").run();
    writing.commit();
  }
  EXPECT_EQ(taken.get(), 1);
}

/// One that was stopped (SIGSTOP, a host cut off) in the middle of a transaction keeps nobody waiting for good.
TEST_F(LeasesTest, ATransactionThatNobodyGoesOnWithIsEndedByTheServer) {
  const auto frozen = host(seconds(2));
  const model::JobId job = newJob(*frozen).id;
  ASSERT_FALSE(frozen->leases.tryLock(1));
  const auto other = host();
  Transaction writing(frozen->database, Transaction::Kind::writing);
  Query(frozen->database, "UPDATE job SET cancel_requested = 1").run();
  expire([&](const std::string& sql) { execute(sql); }, *frozen);
  EXPECT_FALSE(other->leases.tryLock(1));
  EXPECT_FALSE(other->store.load(job).cancelRequested);
  EXPECT_THROW(writing.commit(), PostgresError);
}

/// It takes what is sent and answers nothing, as one that is stopped, or behind a line that swallows all.
TEST_F(LeasesTest, AServerThatStandsStillIsGivenUp) {
  support::DoubtProxy proxy;
  Location behind = Location::ofServer(schema_.location().address() + "&host=" + core::percentEncode(proxy.folder()));
  behind.lease = seconds(2);
  Host one(behind, clock_);
  const model::JobId job = newJob(one).id;
  ASSERT_FALSE(one.leases.tryLock(1));
  proxy.swallow();
  EXPECT_EQ(errorOf([&] { one.store.beginAttempt(job, model::StepName::selectBatches); }).category(),
            Category::unavailable);
  EXPECT_TRUE(one.leases.lost().stop_requested());
}

TEST_F(LeasesTest, AManyAskedForLockHasOneHolder) {
  constexpr int kHosts = 8;
  std::vector<std::future<bool>> all;
  std::promise<void> go;
  const std::shared_future<void> begun = go.get_future().share();
  host();  // makes the tables
  std::vector<std::unique_ptr<Host>> hosts(kHosts);
  for (auto& one : hosts) {
    one = host();
    all.push_back(std::async(std::launch::async, [&one, begun] {
      begun.wait();
      return !one->leases.tryLock(99);
    }));
  }
  go.set_value();
  int holders = 0;
  for (auto& one : all) holders += one.get() ? 1 : 0;
  EXPECT_EQ(holders, 1);
}

}  // namespace
}  // namespace caiexport::store
