#include "store/schema.h"

#include <sys/wait.h>
#include <unistd.h>

#include <stop_token>
#include <thread>
#include <vector>

#include "caiexport/store/history.h"
#include "server/server_fixture.h"
#include "support/process.h"

namespace caiexport::store {
namespace {

using core::Category;
using testing::HasSubstr;

class SchemaTest : public testing::Test {
 protected:
  Location location(const std::string& more = {}) const {
    return Location::ofServer(schema_.location().address() + more);
  }
  core::Error refusal(Database::Mode mode, const std::string& more = {}) {
    return errorOf([&] { Database(location(more), mode); });
  }
  std::string run(const std::string& sql) {
    Postgres server(location(), Postgres::Access::readWrite);
    PostgresQuery query(server, sql);
    return query.next() ? query.text(0) : std::string();
  }
  /// A role of its own, gone at the end.
  std::string role(const std::string& rights) {
    const std::string name = "r" + run("SELECT current_schema()");
    run("CREATE ROLE " + name + " LOGIN");
    run("GRANT USAGE ON SCHEMA " + run("SELECT current_schema()") + " TO " + name);
    if (!rights.empty()) {
      run("GRANT " + rights + " ON ALL TABLES IN SCHEMA " + run("SELECT current_schema()") + " TO " + name);
    }
    role_ = name;
    return "&user=" + name;
  }
  ~SchemaTest() override {
    if (role_.empty()) return;
    run("DROP OWNED BY " + role_);
    run("DROP ROLE " + role_);
  }

  support::ServerSchema schema_;
  support::FakeClock clock_;
  std::string role_;
};

TEST_F(SchemaTest, IsMadeOnceByEightProcessesThatBeginTogether) {
  int gate[2];
  ASSERT_EQ(::pipe(gate), 0);
  std::vector<pid_t> children;
  for (int n = 0; n < 8; ++n) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(gate[1]);
      char byte = 0;
      static_cast<void>(!::read(gate[0], &byte, 1));
      try {
        Database database(location(), Database::Mode::readWrite);
        JobStore(database, core::systemClock())
            .createJob(datasetRequest(), std::to_string(::getpid()), model::makePlan(datasetRequest()));
        ::_exit(0);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        ::_exit(1);
      }
    }
    children.push_back(child);
  }
  ::close(gate[0]);
  ::close(gate[1]);
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(run("SELECT count(*) FROM job"), "8");
  EXPECT_EQ(run("SELECT count(*) FROM caiexport_schema"), "1");
}

TEST_F(SchemaTest, OneOfANewerCaiexportIsLeftAsItIs) {
  Database(location(), Database::Mode::readWrite);
  run("UPDATE caiexport_schema SET version = 999");
  for (const auto mode : {Database::Mode::readWrite, Database::Mode::readOnly, Database::Mode::glance}) {
    const core::Error error = refusal(mode);
    EXPECT_EQ(error.category(), Category::config);
    EXPECT_THAT(error.what(), HasSubstr("newer caiexport (schema 999"));
  }
  EXPECT_EQ(run("SELECT version FROM caiexport_schema"), "999");
}

TEST_F(SchemaTest, TablesOfAnotherProgramAreLeftAsTheyAre) {
  run("CREATE TABLE job (id text)");
  for (const auto mode : {Database::Mode::readWrite, Database::Mode::readOnly}) {
    const core::Error error = refusal(mode);
    EXPECT_EQ(error.category(), Category::io);
    EXPECT_THAT(error.what(), HasSubstr("another program"));
  }
  EXPECT_EQ(run("SELECT count(*) FROM pg_class WHERE relnamespace = CAST(current_schema() AS regnamespace)"), "1");
}

TEST_F(SchemaTest, ForReadingNothingIsMade) {
  EXPECT_EQ(refusal(Database::Mode::readOnly).category(), Category::notFound);
  EXPECT_EQ(run("SELECT count(*) FROM pg_class WHERE relnamespace = CAST(current_schema() AS regnamespace)"), "0");
}

TEST_F(SchemaTest, AnOlderOneIsBroughtUpToDateForReadersToo) {
  Postgres server(location(), Postgres::Access::readWrite);
  server.runAll(inPostgres(migrations().front().sql));
  server.runAll(
      "CREATE TABLE caiexport_schema (version bigint); INSERT INTO caiexport_schema VALUES (1);"
      " INSERT INTO job (uuid, kind, source_id, org_id, sandbox, output, status, created_at, updated_at)"
      " VALUES ('u', 'dataset', 'ds', 'ORG', 'prod', '/out', 'pending', 1, 2);"
      " INSERT INTO request (job, json) VALUES (1, '{}');"
      " INSERT INTO step (job, position, name, state) VALUES (1, 0, 'select_batches', 'pending')");
  EXPECT_EQ(refusal(Database::Mode::glance).category(), Category::io);
  Database database(location(), Database::Mode::readOnly);
  EXPECT_EQ(factsOf(database).schemaVersion, newestSchemaVersion());
  EXPECT_EQ(JobStore(database, clock_).load(model::JobId(1)).request.sourceId, "ds");
  EXPECT_EQ(errorOf([&] { JobStore(database, clock_).requestCancel(model::JobId(1)); }).category(), Category::config)
      << "it still can't write";
}

TEST_F(SchemaTest, ARoleThatMayOnlyReadReads) {
  {
    Database database(location(), Database::Mode::readWrite);
    JobStore(database, clock_).createJob(datasetRequest(), "u", model::makePlan(datasetRequest()));
  }
  const std::string reader = role("SELECT");
  Database reading(location(reader), Database::Mode::readOnly);
  EXPECT_EQ(History(reading, {}).newest()->job.uuid, "u");
  Database writing(location(reader), Database::Mode::readWrite);
  const core::Error error = errorOf([&] { JobStore(writing, clock_).requestCancel(model::JobId(1)); });
  EXPECT_EQ(error.category(), Category::config);
  EXPECT_THAT(error.what(), HasSubstr("permission denied"));
  EXPECT_THAT(error.hint(), HasSubstr("its owner has to give the role"));
  EXPECT_EQ(run("SELECT cancel_requested FROM job"), "0");
}

TEST_F(SchemaTest, WhoMayMakeNoTablesIsToldSo) {
  const std::string stranger = role("");
  const core::Error error = refusal(Database::Mode::readWrite, stranger);
  EXPECT_EQ(error.category(), Category::config);
  EXPECT_THAT(error.what(), HasSubstr("permission denied"));
}

TEST_F(SchemaTest, WhatIsNotThereIsSaidInOneLine) {
  const core::Error database =
      errorOf([] { Database(Location::ofServer("postgresql:///no_such_database"), Database::Mode::readOnly); });
  EXPECT_EQ(database.category(), Category::config);
  EXPECT_THAT(database.what(), HasSubstr("no_such_database"));
  const core::Error role =
      errorOf([] { Database(Location::ofServer("postgresql://nobody_here@/"), Database::Mode::readOnly); });
  EXPECT_EQ(role.category(), Category::config);
  const core::Error server =
      errorOf([] { Database(Location::ofServer("postgresql://127.0.0.1:1/x"), Database::Mode::readOnly); });
  EXPECT_EQ(server.category(), Category::unavailable);
  const core::Error host =
      errorOf([] { Database(Location::ofServer("postgresql://no-such-host.invalid/x"), Database::Mode::readOnly); });
  EXPECT_EQ(host.category(), Category::unavailable);
  for (const core::Error& error : {database, role, server, host}) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    EXPECT_FALSE(error.hint().empty()) << error.what();
  }
}

TEST_F(SchemaTest, EveryMigrationIsInWordsOfTheServer) {
  for (const Migration& migration : migrations()) {
    std::string sql = inPostgres(migration.sql);
    for (const char* word : {"INTEGER", "TEXT", "BLOB", "STRICT", "ROWID", "AUTOINCREMENT"}) {
      EXPECT_EQ(sql.find(word), std::string::npos) << migration.name << " " << word;
    }
  }
}

// --- history --sql

class ServerSqlTest : public ServerTest {
 protected:
  ServerSqlTest() : host_(host()) { job_ = newJob(*host_).id; }
  std::vector<std::string> ask(const std::string& sql) {
    types_.clear();
    std::vector<std::string> texts;
    History(host_->database, {})
        .runSql(
            sql, [](const auto&) {},
            [&](const std::vector<History::SqlCell>& cells) {
              for (const auto& cell : cells) {
                texts.push_back(cell.text);
                types_.push_back(cell.type);
              }
              return true;
            });
    return texts;
  }

  std::unique_ptr<Host> host_;
  model::JobId job_;
  std::vector<History::SqlCell::Type> types_;
};

TEST_F(ServerSqlTest, OrdinarySqlWorks) {
  EXPECT_THAT(ask("SELECT count(*), count(*), max(source_id) FROM jobs -- all"),
              testing::ElementsAre("1", "1", datasetRequest().sourceId));
  EXPECT_THAT(ask("WITH s AS (SELECT * FROM steps) SELECT count(*) FROM s JOIN jobs USING (job);"),
              testing::ElementsAre("4"));
  EXPECT_THAT(ask("SELECT name FROM steps ORDER BY position DESC LIMIT 1"), testing::ElementsAre("verify_files"));
  EXPECT_THAT(ask("SELECT job FROM jobs WHERE created_at >= '2000-01-01'"), testing::ElementsAre("1"));
}

TEST_F(ServerSqlTest, CellsHaveTheirTypes) {
  using Type = History::SqlCell::Type;
  EXPECT_THAT(ask("SELECT 1, 1.5, 'a', NULL, true, CAST('NaN' AS float), CAST('\\x0aff' AS bytea)"),
              testing::ElementsAre("1", "1.5", "a", "", "1", "NaN", "0aff"));
  EXPECT_THAT(types_, testing::ElementsAre(Type::integer, Type::real, Type::text, Type::null, Type::integer, Type::text,
                                           Type::text));
}

TEST_F(ServerSqlTest, TheStatusAsksTheLeases) {
  EXPECT_THAT(ask("SELECT status FROM jobs"), testing::ElementsAre("pending"));
  const auto other = host();
  ASSERT_FALSE(other->leases.tryLock(model::numberOf(job_)));
  EXPECT_THAT(ask("SELECT status FROM jobs"), testing::ElementsAre("running"));
}

TEST_F(ServerSqlTest, NothingButTheViewsCanBeReached) {
  const std::string schema = "t" + std::to_string(::getpid());
  Query own(host_->database, "SELECT current_schema()");
  own.next();
  const std::string table = own.text(0) + ".job";
  for (const std::string& sql :
       std::vector<std::string>{"SELECT * FROM " + table,
                                "SELECT * FROM request",
                                "WITH jobs AS (SELECT * FROM " + table + ") SELECT * FROM jobs",
                                "SELECT (SELECT count(*) FROM " + table + ") FROM jobs",
                                "SELECT * FROM pg_class",
                                "SELECT * FROM information_schema.tables",
                                "SELECT pg_sleep(100)",
                                "SELECT pg_read_file('/etc/passwd')",
                                "SELECT query_to_xml('SELECT * FROM " + table + "', true, true, '')",
                                "SELECT table_to_xml('" + table + "', true, true, '')",
                                "SELECT set_config('x.y', '1', false)",
                                "SELECT ts_stat('SELECT 1')",
                                "SELECT lo_import('/etc/passwd')",
                                "SELECT pg_terminate_backend(1)",
                                "SELECT 1 FROM jobs ORDER BY (SELECT count(*) FROM " + table + ")",
                                "SELECT 1 FROM jobs GROUP BY job HAVING EXISTS (SELECT 1 FROM " + table + ")",
                                "SELECT 1; SELECT 2",
                                "DELETE FROM " + table,
                                "INSERT INTO jobs (job) VALUES (1)",
                                "WITH d AS (DELETE FROM " + table + " RETURNING 1) SELECT * FROM d",
                                "SELECT 1 INTO x",
                                "DROP TABLE " + table,
                                "COPY " + table + " TO STDOUT",
                                "EXPLAIN SELECT 1",
                                "SET search_path = public",
                                "COMMIT",
                                "SHOW all",
                                "",
                                "SELECT $1",
                                "SELECT * FROM jobs FOR UPDATE",
                                "CREATE TABLE x AS SELECT 1",
                                "DO $$BEGIN END$$",
                                "CALL x()",
                                "SELECT nextval('x')",
                                "TABLE " + table,
                                "SELECT 1/0"}) {
    SCOPED_TRACE(sql);
    const core::Error error = errorOf([&] { ask(sql); });
    EXPECT_EQ(error.category(), Category::usage) << error.what();
    EXPECT_FALSE(error.hint().empty());
    EXPECT_THAT(ask("SELECT count(*) FROM jobs"), testing::ElementsAre("1")) << "the connection is as it was";
  }
  EXPECT_EQ(number("SELECT count(*) FROM job"), 1);
}

/// By the user, and then by the server, which would go on with it for five minutes.
TEST_F(ServerSqlTest, AnEndlessStatementIsStoppedOnBothSides) {
  Query counted(host_->database, "SHOW server_version_num");
  counted.next();
  const bool looksForItsClient = counted.integer(0) >= 140000;
  std::stop_source stop;
  const std::jthread user([&] {
    while (number("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'WITH RECURSIVE endless%'"
                  " AND state = 'active'") == 0) {
      std::this_thread::yield();
    }
    stop.request_stop();
  });
  EXPECT_THROW(
      History(host_->database, {})
          .runSql(
              "WITH RECURSIVE endless(x) AS (SELECT 1 UNION ALL SELECT 1 FROM endless) SELECT count(*) FROM endless",
              [](const auto&) {}, [](const auto&) { return true; }, stop.get_token()),
      core::Interrupted);
  EXPECT_THAT(ask("SELECT count(*) FROM jobs"), testing::ElementsAre("1"));
  if (!looksForItsClient) GTEST_SKIP() << "NOT CHECKED: that the server ends it, which one older than 14 does not";
  EXPECT_TRUE(support::eventually([] {
    Postgres beside(Location::ofServer("postgresql:///"), Postgres::Access::readOnly);
    PostgresQuery row(beside, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'WITH RECURSIVE endless%'");
    return row.next() && row.integer(0) == 0;
  }));
}

TEST_F(ServerSqlTest, NothingOfItIsLeft) {
  ask("SELECT 1");
  EXPECT_EQ(number("SELECT count(*) FROM pg_class WHERE relname = 'jobs'"), 0);
  newJob(*host_);
  EXPECT_EQ(number("SELECT count(*) FROM job"), 2);
}

}  // namespace
}  // namespace caiexport::store
