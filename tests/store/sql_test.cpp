/// history --sql: what it answers, and what it refuses.
#include <limits>
#include <set>

#include "caiexport/core/text.h"
#include "store/store_fixture.h"

namespace caiexport::store {
namespace {

using core::Category;
using model::JobId;
using model::StepName;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

using Cell = History::SqlCell;

class SqlTest : public StoreTest {
 protected:
  SqlTest() {
    job_ = jobWithBatches({"b1", "b2"}).id;
    list(job_, "b1", {remoteFile("b1", "d1", "same", 10), remoteFile("b1", "d2", "same", 20)});
    download(filesOf(job_)[0].id, 'a');
    verify(filesOf(job_)[0].id, 7);
    store().addEvent(job_, StepName::listFiles, "listed", "2 files");
    // As history does it.
    store_.reset();
    database_.reset();
    database_ = std::make_unique<Database>(location(), Database::Mode::readOnly);
  }

  struct Answer {
    std::vector<std::string> columns;
    std::vector<std::vector<std::string>> rows;
    std::vector<Cell::Type> types;  ///< Of the last row.
  };

  Answer ask(std::string_view sql, IsHeld isHeld = {}, std::stop_token stop = {}) {
    Answer answer;
    history(std::move(isHeld))
        .runSql(
            sql, [&](const auto& columns) { answer.columns = columns; },
            [&](const std::vector<Cell>& cells) {
              answer.rows.emplace_back();
              answer.types.clear();
              for (const Cell& cell : cells) {
                answer.rows.back().push_back(cell.text);
                answer.types.push_back(cell.type);
              }
              return true;
            },
            std::move(stop));
    return answer;
  }

  std::string value(std::string_view sql, IsHeld isHeld = {}) {
    const Answer answer = ask(sql, std::move(isHeld));
    return answer.rows.size() == 1 ? answer.rows[0].at(0) : "rows: " + std::to_string(answer.rows.size());
  }

  JobId job_{};
};

TEST_F(SqlTest, theViewsHaveTheColumnsOfTheJson) {
  EXPECT_THAT(ask("SELECT * FROM jobs").columns,
              ElementsAre("job", "kind", "source_id", "org_id", "sandbox", "status", "step", "dataset_id",
                          "export_job_id", "segment_job_id", "remote_status", "batch_ids", "files", "bytes", "records",
                          "reported_profiles", "output", "created_at", "updated_at", "finished_at", "error_category",
                          "error_message", "error_request_id", "error_hint", "evaluated_at", "version"));
  EXPECT_THAT(ask("SELECT * FROM steps").columns, ElementsAre("job", "position", "name", "state", "started_at",
                                                              "finished_at", "attempts", "intended_at", "deadline"));
  EXPECT_THAT(ask("SELECT * FROM files").columns,
              ElementsAre("job", "name", "path", "batch_id", "dataset_file_id", "bytes", "sha256", "records", "state"));
  EXPECT_THAT(ask("SELECT * FROM events").columns, ElementsAre("job", "at", "step", "what", "detail"));
}

TEST_F(SqlTest, theViewsHoldWhatTheStoreHolds) {
  EXPECT_EQ(value("SELECT dataset_id FROM jobs"), datasetRequest().sourceId);
  EXPECT_EQ(value("SELECT batch_ids FROM jobs"), R"(["b1","b2"])");
  EXPECT_EQ(value("SELECT created_at FROM jobs"), core::formatTime(clock_.now()));
  EXPECT_EQ(value("SELECT finished_at IS NULL FROM jobs"), "1");
  EXPECT_EQ(value("SELECT bytes FROM jobs"), "30");
  EXPECT_THAT(ask("SELECT name, state FROM steps ORDER BY position").rows,
              ElementsAre(ElementsAre("select_batches", "done"), ElementsAre("list_files", "pending"),
                          ElementsAre("download_files", "pending"), ElementsAre("verify_files", "pending")));
  EXPECT_THAT(ask("SELECT path, batch_id, bytes, sha256, records, state FROM files ORDER BY path").rows,
              ElementsAre(ElementsAre("d1/same", "b1", "10", sha256Of('a'), "7", "verified"),
                          ElementsAre("d2/same", "b1", "20", "", "", "pending")));
  EXPECT_THAT(ask("SELECT job, step, what, detail FROM events").rows,
              ElementsAre(ElementsAre("1", "list_files", "listed", "2 files")));
}

TEST_F(SqlTest, timesAreRfc3339ToTheMillisecond) {
  Database writer(location(), Database::Mode::readWrite);
  for (const std::int64_t time : {0L, 1L, 999L, 1606000000001L, 1606000000123L, 1606000000999L, 1798761599999L}) {
    Query(writer, "UPDATE job SET created_at = ?").with(time).run();
    EXPECT_EQ(value("SELECT created_at FROM jobs"), core::formatTime(core::TimePoint(core::Duration(time))));
  }
}

TEST_F(SqlTest, theStatusAsksTheLocks) {
  EXPECT_EQ(value("SELECT status FROM jobs"), "pending");
  EXPECT_EQ(value("SELECT status FROM jobs", [&](JobId job) { return job == job_; }), "running");
  EXPECT_EQ(value("SELECT count(*) FROM jobs WHERE status = 'running'", [](JobId) { return true; }), "1");
}

TEST_F(SqlTest, aFailureToAskTheLocksIsNotLost) {
  struct Broken {};
  EXPECT_THROW(ask("SELECT status FROM jobs", [](JobId) -> bool { throw Broken(); }), Broken);
  EXPECT_EQ(value("SELECT status FROM jobs"), "pending");
}

TEST_F(SqlTest, ordinarySqlWorks) {
  for (const char* sql : {
           "SELECT count(*) FROM jobs",
           "select count(*) from jobs j join files f on f.job = j.job where f.bytes > 5 group by f.job having count(*) "
           "> 1",
           "WITH big AS (SELECT * FROM files WHERE bytes > 15) SELECT path FROM big",
           "WITH n AS (SELECT * FROM jobs) SELECT count(*) FROM n",
           "SELECT count(*) FROM Jobs, Steps WHERE position = 0",
           "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 10) SELECT sum(x) FROM n",
           "SELECT (SELECT max(bytes) FROM files) FROM jobs",
           "SELECT row_number() OVER (ORDER BY job) FROM jobs",
           "SELECT count(*) FROM (SELECT job FROM jobs UNION SELECT job FROM events)",
           "SELECT date(created_at), round(1.25, 1), upper(kind), json_extract(batch_ids, '$[0]') FROM jobs",
           "SELECT count(*) FROM jobs, json_each(batch_ids)",
           "SELECT 1 WHERE EXISTS (SELECT * FROM temp.jobs)",
           "SELECT 1;  -- done\n /* really */ ; ",
           "/* first */ SELECT 1",
           "VALUES (1)",
       }) {
    SCOPED_TRACE(sql);
    EXPECT_THAT(ask(sql).rows, SizeIs(1));
  }
}

TEST_F(SqlTest, cellsHaveTheirTypes) {
  const Answer answer = ask("SELECT NULL, 1, -9223372036854775808, 0.5, 'a', x'00ff', '', char(97, 0, 98)");
  EXPECT_THAT(answer.types, ElementsAre(Cell::Type::null, Cell::Type::integer, Cell::Type::integer, Cell::Type::real,
                                        Cell::Type::text, Cell::Type::text, Cell::Type::text, Cell::Type::text));
  EXPECT_THAT(answer.rows.at(0),
              ElementsAre("", "1", "-9223372036854775808", "0.5", "a", "00ff", "", std::string("a\0b", 3)));
}

TEST_F(SqlTest, columnsAreNamedWithoutRowsToo) {
  const Answer answer = ask("SELECT job AS number, 1 + 1 FROM jobs WHERE 0");
  EXPECT_THAT(answer.columns, ElementsAre("number", "1 + 1"));
  EXPECT_THAT(answer.rows, IsEmpty());
}

TEST_F(SqlTest, aRowMayBeTheLast) {
  int seen = 0;
  history().runSql(
      "SELECT * FROM files", [](const auto&) {}, [&](const auto&) { return ++seen < 1; });
  EXPECT_EQ(seen, 1);
}

constexpr const char* kRefused[] = {
    "", "  -- nothing\n", ";", "SELEC 1", "SELECT nosuch FROM jobs", "SELECT * FROM nosuch", "SELECT \"text\"",
    // Other statements.
    "ATTACH '/tmp/caiexport-attached.db' AS other", "ATTACH ':memory:' AS m", "DETACH main", "PRAGMA user_version = 5",
    "PRAGMA user_version", "PRAGMA query_only = OFF", "PRAGMA database_list", "INSERT INTO job (uuid) VALUES ('x')",
    "INSERT INTO jobs VALUES (1)", "UPDATE job SET uuid = 'x'", "DELETE FROM job", "DELETE FROM jobs",
    "REPLACE INTO request VALUES (1, 'x')", "DROP TABLE job", "CREATE TABLE x (y)", "CREATE TEMP TABLE x (y)",
    "CREATE TEMP VIEW x AS SELECT 1", "ALTER TABLE job RENAME TO x",
    "CREATE TEMP TRIGGER x INSTEAD OF INSERT ON jobs BEGIN SELECT 1; END", "REINDEX", "ANALYZE", "VACUUM",
    "VACUUM INTO '/tmp/caiexport-vacuumed.db'", "BEGIN", "COMMIT", "SAVEPOINT x", "EXPLAIN SELECT 1",
    "EXPLAIN QUERY PLAN SELECT * FROM jobs", "CREATE VIRTUAL TABLE t USING fts5(x)",
    "WITH x AS (SELECT 1) DELETE FROM job", "WITH x AS (SELECT 1) INSERT INTO job (uuid) SELECT 'x'",
    // A second statement.
    "SELECT 1; SELECT 2", "SELECT 1; DROP TABLE job", "SELECT 1;;DELETE FROM job", "SELECT 1 /* */; VACUUM",
    "SELECT 1; garbage",
    // The tables themselves.
    "SELECT * FROM job", "SELECT uuid FROM main.job", "SELECT json FROM request", "SELECT count(*) FROM request",
    "SELECT count(*) FROM job", "SELECT count(*) FROM REQUEST", "SELECT count(*) FROM main.Request",
    "SELECT (SELECT json FROM main.request) FROM jobs", "SELECT rowid FROM main.file",
    "WITH jobs AS (SELECT * FROM main.job) SELECT * FROM jobs",
    "WITH files AS (SELECT json FROM main.request) SELECT * FROM files",
    "SELECT * FROM (SELECT uuid FROM main.job) AS jobs",
    "SELECT * FROM jobs WHERE job IN (SELECT job FROM main.request)",
    "WITH RECURSIVE jobs(x) AS (SELECT uuid FROM main.job UNION SELECT x FROM jobs) SELECT x FROM jobs",
    "SELECT * FROM sqlite_sequence",
    // The schema.
    "SELECT * FROM sqlite_master", "SELECT count(*) FROM SQLite_Master", "SELECT count(*) FROM pragma_database_list",
    "SELECT sql FROM sqlite_schema", "SELECT name FROM sqlite_temp_master", "SELECT * FROM temp.sqlite_schema",
    "SELECT * FROM pragma_table_info('job')", "SELECT * FROM pragma_database_list", "SELECT * FROM dbstat",
    "SELECT * FROM sqlite_stmt", "SELECT * FROM sqlite_dbpage",
    "WITH jobs AS (SELECT sql FROM sqlite_master) SELECT * FROM jobs",
    // Functions.
    "SELECT load_extension('x')", "SELECT LOAD_EXTENSION('x', 'y')", "SELECT readfile('/etc/passwd')",
    "SELECT writefile('/tmp/caiexport-written', 'y')", "SELECT fts3_tokenizer('simple')",
    // Parameters have no value.
    "SELECT ?", "SELECT :job",
    // Too much.
    "SELECT zeroblob(1000000000)", "SELECT hex(randomblob(60000000))", "SELECT abs(-9223372036854775808)"};

TEST_F(SqlTest, anythingElseIsAnErrorOfUsageAndChangesNothing) {
  for (const char* sql : kRefused) {
    SCOPED_TRACE(sql);
    const core::Error error = errorOf([&] { ask(sql); });
    EXPECT_EQ(error.category(), Category::usage) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("cannot run the SQL: "));
    EXPECT_FALSE(error.hint().empty());
    // The connection is as it was.
    if (!support::isOnServer()) {
      EXPECT_EQ(number("SELECT count(*) FROM sqlite_temp_master"), 0);
      EXPECT_EQ(number("PRAGMA query_only"), 1);
    }
    EXPECT_EQ(value("SELECT count(*) FROM jobs"), "1");
  }
  open();
  EXPECT_EQ(number("SELECT count(*) FROM job"), 1);
  EXPECT_EQ(factsOf(database()).schemaVersion, newestSchemaVersion());
}

TEST_F(SqlTest, aNulCharacterEndsNoStatement) {
  EXPECT_EQ(errorOf([&] { ask(std::string_view("SELECT 1\0; DROP TABLE job", 25)); }).category(), Category::usage);
}

TEST_F(SqlTest, anEndlessStatementCanBeStopped) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(ask("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n", {},
                   stop.get_token()),
               core::Interrupted);
  EXPECT_EQ(value("SELECT 1"), "1");
}

TEST_F(SqlTest, worksOnAWritableConnectionToo) {
  open();
  EXPECT_EQ(value("SELECT count(*) FROM jobs"), "1");
  EXPECT_EQ(errorOf([&] { ask("DELETE FROM job"); }).category(), Category::usage);
  newJob();
  EXPECT_EQ(value("SELECT count(*) FROM jobs"), "2");
}

}  // namespace
}  // namespace caiexport::store
