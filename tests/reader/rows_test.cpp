/// Rows of one file and of several: their order, what reading them costs, and how it ends.

#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include "caiexport/core/memory.h"
#include "rows_fixture.h"

namespace caiexport::test {
namespace {

using core::Category;
using core::Error;
using reader::ReadQuery;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class RowsTest : public RowsFixture {};

TEST_F(RowsTest, ExamplesAreTheFirstValuesThatThereAre) {
  auto profiles = open({parquet("f.parquet",
                                "SELECT CASE WHEN i > 1 THEN i END AS late, NULL::VARCHAR AS never, "
                                "{'score': 0.0003::DOUBLE} AS g FROM range(5) t(i)")});
  const auto fields = profiles->examples({});
  ASSERT_EQ(fields.size(), 3U);
  EXPECT_EQ(fields[0].example, "2");
  EXPECT_EQ(fields[1].example, std::nullopt);
  EXPECT_EQ(fields[2].path, "g.score");
  EXPECT_EQ(fields[2].example, "0.0003");
}

TEST_F(RowsTest, SeveralBatchesAsOneSet) {
  const fs::path first = parquet("one/part.parquet", "SELECT 'a' AS id, {'score': 1.0, 'old': 1} AS g, 'x' AS gone");
  const fs::path second =
      parquet("two/part.parquet", "SELECT 'b' AS id, {'score': 2.0, 'new': {'deep': 'y'}} AS g, 5 AS extra");
  const auto created = core::TimePoint(std::chrono::milliseconds(1748747825123));
  auto profiles = reader().open({{.path = first, .batchId = "b'1", .batchCreated = created, .label = "one"},
                                 {.path = second, .batchId = "b2", .batchCreated = {}, .label = ""}});
  EXPECT_EQ(csv(*profiles), "id,g.score,g.old,g.new.deep,gone,extra\r\na,1.0,1,,x,\r\nb,2.0,,y,,5\r\n");
  EXPECT_EQ(csv(*profiles, {.columns = {"id", "_batch_id", "_batch_created", "_file"}}),
            "id,_batch_id,_batch_created,_file\r\na,b'1,2025-06-01T03:17:05.123Z,one\r\nb,b2,,part.parquet\r\n");
  EXPECT_EQ(csv(*profiles, {.columns = {"id"}, .where = "_batch_id = 'b2'"}), "id\r\nb\r\n");
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT _file, count(*) AS n FROM profiles GROUP BY 1 ORDER BY 1"}),
            "_file,n\r\none,1\r\npart.parquet,1\r\n");
  EXPECT_THAT(csv(*profiles, {.sql = "SELECT * FROM profiles"}), Not(HasSubstr("_batch_id")));
  EXPECT_EQ(profiles->rowCount(), 2U);
}

std::uint64_t bytesReadByThisProcess() {
  std::ifstream stream("/proc/self/io");
  std::string name;
  std::uint64_t bytes = 0;
  stream >> name >> bytes;
  return bytes;
}

TEST_F(RowsTest, FilesOfOneSchemaAreReadOnceToBeOpened) {
  if (!fs::exists("/proc/self/io")) GTEST_SKIP() << "NOT CHECKED: the system does not count bytes read";
  const fs::path first = parquet("part-0", kProfiles);
  const std::uint64_t bytes = fs::file_size(first);
  constexpr std::size_t kFiles = 300;
  std::vector<fs::path> files{first};
  for (std::size_t number = 1; number < kFiles; ++number) {
    files.push_back(folder_.path() / ("part-" + std::to_string(number)));
    fs::copy_file(first, files.back());
  }
  const std::uint64_t before = bytesReadByThisProcess();
  const reader::Table table = open(files)->table({.limit = 1}, {});
  EXPECT_EQ(table.rows.size(), 1U);
  EXPECT_TRUE(table.more);
  EXPECT_LT(bytesReadByThisProcess() - before, bytes * kFiles + bytes * kFiles / 4);
}

TEST_F(RowsTest, AColumnThatOnlyTheLastFileHasIsSeen) {
  const std::vector<fs::path> files{parquet("a", "SELECT 1 AS x"), parquet("b", "SELECT 2 AS x"),
                                    parquet("c", "SELECT 3 AS x, 'new' AS y")};
  EXPECT_EQ(csv(*open(files)), "x,y\r\n1,\r\n2,\r\n3,new\r\n");
  EXPECT_EQ(csv(*open({files[2], files[0], files[1]})), "x,y\r\n3,new\r\n1,\r\n2,\r\n");
}

TEST_F(RowsTest, AWiderTypeInTheLastFileIsSeen) {
  EXPECT_EQ(csv(*open({parquet("a", "SELECT 1::INTEGER AS x"), parquet("b", "SELECT 2.5::DOUBLE AS x")})),
            "x\r\n1.0\r\n2.5\r\n");
}

TEST_F(RowsTest, ADamagedFooterOfAnyFileIsToldBeforeTheFirstRow) {
  const fs::path first = parquet("a", kProfiles);
  std::string bytes = content(first);
  // Length and magic number are at the end; before them lies the footer, which begins with its version.
  const std::size_t tail = bytes.size() - 8;
  std::size_t length = 0;
  for (std::size_t index = 4; index-- > 0;) length = length << 8U | static_cast<unsigned char>(bytes[tail + index]);
  for (const std::size_t at : {tail - length, tail - length + 3, tail - length / 2}) {
    std::string damaged = bytes;
    std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>(at), 4, '\xFF');
    const fs::path last = file("b.parquet", damaged);
    const Error error = errorOf([&] { open({first, last}); });
    EXPECT_EQ(error.category(), Category::verification) << at << ": " << error.what();
    EXPECT_THAT(error.what(), HasSubstr("b.parquet")) << at;
  }
}

TEST_F(RowsTest, TheSameFileTwiceCountsOnce) {
  const fs::path path = parquet("f.parquet", kProfiles);
  fs::create_symlink(path, folder_ / "link");
  EXPECT_EQ(open({path, folder_ / "link", path})->rowCount(), 3U);
}

TEST_F(RowsTest, ColumnsThatCannotBeUnited) {
  const fs::path first = parquet("1.parquet", "SELECT 1 AS a");
  const fs::path second = parquet("2.parquet", "SELECT [1] AS a");
  EXPECT_EQ(errorOf([&] { csv(*open({first, second})); }).category(), Category::verification);
  EXPECT_EQ(errorOf([&] { open({}); }).category(), Category::usage);
  const Error broken = errorOf([&] { open({first, file("broken", "PAR1 and no more than that")}); });
  EXPECT_EQ(broken.category(), Category::verification);
  EXPECT_THAT(broken.what(), HasSubstr("broken"));
}

TEST_F(RowsTest, OrderIsThatOfFilesAndRows) {
  std::vector<fs::path> paths;
  for (int index = 0; index < 5; ++index) {
    std::string select = "SELECT i + 50000 * INDEX AS n FROM range(50000) r(i)";
    select.replace(select.find("INDEX"), 5, std::to_string(index));
    paths.push_back(parquet(std::to_string(index), select, ", ROW_GROUP_SIZE 8192"));
  }
  const std::string text = csv(*open(paths));
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  std::uint64_t expected = 0;
  while (std::getline(lines, line)) {
    ASSERT_EQ(line, std::to_string(expected) + "\r");
    ++expected;
  }
  EXPECT_EQ(expected, 250'000U);
}

std::size_t threadsOfThisProcess() {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator()));
}

class ThreadCounter final : public reader::Output {
 public:
  bool write(std::span<const std::byte>) override {
    most = std::max(most, threadsOfThisProcess());
    ++writes;
    return true;
  }
  std::size_t most = 0;
  std::size_t writes = 0;
};

TEST_F(RowsTest, RowsInTheirOrderAreReadByOneThreadAndWrittenByAll) {
  if (!fs::exists("/proc/self/task")) GTEST_SKIP() << "NOT CHECKED: the system does not list threads";
  settings_.threads = 3;
  auto profiles =
      open({parquet("f", "SELECT i AS i, MAP {'ECID': [{'id': 'e' || i}]} AS identityMap FROM range(100000) r(i)")});
  const std::size_t before = threadsOfThisProcess();
  ThreadCounter plain;
  profiles->rows({}, reader::RowFormat::jsonl, plain, {});
  EXPECT_EQ(plain.most, before - 2 + 3) << "two of DuckDB's end, three of ours begin";
  EXPECT_LE(plain.writes, 100'000U / 2'048 + 2) << "one write for each of DuckDB's chunks";
  EXPECT_EQ(threadsOfThisProcess(), before) << "what else is asked for has all threads again";
  ThreadCounter identities;
  profiles->rows({.columns = {"i"}, .identities = {"ECID"}}, reader::RowFormat::csv, identities, {});
  EXPECT_EQ(identities.most, before + 3) << "to find them is work for all threads";
  ThreadCounter chosen;
  profiles->rows({.where = "i % 1000 = 0"}, reader::RowFormat::jsonl, chosen, {});
  EXPECT_EQ(chosen.most, before + 3) << "a condition may leave few rows, for which all threads look";
}

TEST_F(RowsTest, ClosedPipeEndsQuietly) {
  auto profiles = open({parquet("f.parquet", "SELECT i AS n, repeat('x', 200) AS t FROM range(200000) r(i)")});
  TextOutput output;
  output.closeAfter = 3;
  const std::uint64_t written = profiles->rows({}, reader::RowFormat::csv, output, {});
  EXPECT_LT(written, 200'000U);
  EXPECT_EQ(output.writes, 4U);
  TextOutput closed;
  closed.closeAfter = 0;
  EXPECT_EQ(profiles->rows({}, reader::RowFormat::csv, closed, {}), 0U);
}

TEST_F(RowsTest, FailingOutputIsReported) {
  struct FullDisk final : reader::Output {
    bool write(std::span<const std::byte>) override { throw Error(Category::io, "disk full"); }
  };
  auto profiles = open({parquet("f.parquet", "SELECT i AS n FROM range(100000) r(i)")});
  FullDisk output;
  EXPECT_STREQ(errorOf([&] { profiles->rows({}, reader::RowFormat::jsonl, output, {}); }).what(), "disk full");
  // The failure may take the whole set along, while DuckDB's threads are at work.
  for (int round = 0; round < 20; ++round) {
    const fs::path path = folder_ / "f.parquet";
    EXPECT_EQ(errorOf([&] { open({path})->rows({}, reader::RowFormat::jsonl, output, {}); }).category(), Category::io);
  }
}

TEST_F(RowsTest, StopInterrupts) {
  auto profiles = open({parquet("f.parquet", "SELECT i AS n FROM range(300000) r(i)")});
  std::stop_source source;
  struct Stopper final : reader::Output {
    explicit Stopper(std::stop_source& stopSource) : stop(stopSource) {}
    bool write(std::span<const std::byte>) override {
      stop.request_stop();
      return true;
    }
    std::stop_source& stop;
  } output(source);
  EXPECT_THROW(profiles->rows({}, reader::RowFormat::csv, output, source.get_token()), core::Interrupted);
  // And in the middle of one long statement, that has no first row to give.
  std::stop_source second;
  std::jthread later([&second] { second.request_stop(); });
  EXPECT_THROW(profiles->rows({.sql = "SELECT count(*) FROM range(100000000000) r(i) WHERE i % 7 = 3"},
                              reader::RowFormat::csv, output, second.get_token()),
               core::Interrupted);
  // The set can still be used.
  EXPECT_EQ(csv(*profiles, {.sql = "SELECT count(*) AS n FROM profiles"}), "n\r\n300000\r\n");
}

TEST_F(RowsTest, MemoryThatIsNotEnough) {
  settings_.memoryBytes = 40U << 20U;
  auto profiles = open({parquet("f.parquet", "SELECT i AS n FROM range(3000000) r(i)")});
  const Error error = errorOf([&] {
    csv(*profiles, {.sql = "SELECT count(*) FROM (SELECT n, md5(n::VARCHAR) AS m FROM profiles GROUP BY ALL)"});
  });
  EXPECT_EQ(error.category(), Category::io) << error.what();
  EXPECT_TRUE(core::isOutOfMemory(error)) << "the command adds the option that it has";
}

TEST_F(RowsTest, SortsOnDiskWhereThereIsAFolder) {
  // 160 MB of text in row groups that are small beside the limit.
  const fs::path path = parquet("f.parquet", "SELECT i AS n, repeat(md5(i::VARCHAR), 5) AS m FROM range(1000000) r(i)",
                                ", ROW_GROUP_SIZE 10000");
  const ReadQuery query{.sql =
                            "SELECT max(length(m)) AS l FROM (SELECT m FROM profiles ORDER BY m, n DESC LIMIT 900000)"};
  settings_.memoryBytes = 120U << 20U;
  auto inMemory = open({path});
  EXPECT_EQ(errorOf([&] { csv(*inMemory, query); }).category(), Category::io);
  inMemory.reset();
  reader_.reset();
  settings_.tempDirectory = folder_ / "spill";
  auto onDisk = open({path});
  EXPECT_EQ(csv(*onDisk, query), "l\r\n160\r\n");
  onDisk.reset();
  EXPECT_TRUE(!fs::exists(settings_.tempDirectory) || fs::is_empty(settings_.tempDirectory));
}

TEST_F(RowsTest, ParquetOut) {
  auto profiles = open({parquet("f.parquet", kProfiles)});
  const fs::path target = folder_ / "out [*] 'x'.part";
  file("out [*] 'x'.part", "something older");
  EXPECT_EQ(
      profiles->writeParquet({.columns = {"_tenant.cai.churn.score", "_file"}, .where = "_id <> 'p0'"}, target, {}),
      2U);
  EXPECT_EQ(jsonl(*open({target})),
            "{\"_tenant\":{\"cai\":{\"churn\":{\"score\":10.5}}},\"_file\":\"f.parquet\"}\n"
            "{\"_tenant\":{\"cai\":{\"churn\":{\"score\":21.0}}},\"_file\":\"f.parquet\"}\n");
  EXPECT_EQ(profiles->writeParquet({.sql = "SELECT _id FROM profiles ORDER BY 1 DESC; -- end", .limit = 2}, target, {}),
            2U);
  EXPECT_EQ(csv(*open({target})), "_id\r\np2\r\np1\r\n");
  EXPECT_EQ(writer_.value("SELECT DISTINCT compression FROM parquet_metadata('" +
                          parquet("copy", "SELECT 1 AS a").string() + "')"),
            "SNAPPY");
  EXPECT_EQ(errorOf([&] { profiles->writeParquet({}, folder_ / "absent/out", {}); }).category(), Category::io);
  EXPECT_EQ(errorOf([&] { profiles->writeParquet({.where = "nope"}, target, {}); }).category(), Category::usage);
}

TEST_F(RowsTest, FileOfAnotherWriter) {
  auto profiles = open({fs::path(CAIEXPORT_FIXTURES) / "arrow_rs.snappy.parquet",
                        fs::path(CAIEXPORT_FIXTURES) / "arrow_rs_empty.snappy.parquet"});
  EXPECT_EQ(profiles->rowCount(), 40U);
  EXPECT_EQ(csv(*profiles, {.columns = {"_id", "_acme.propensity.score", "_acme.propensity.scoreDate", "balance",
                                        "born", "nothing", "region"},
                            .where = "_id IN ('p1', 'p8', 'p9')",
                            .identities = {"ecid", "CRMID"}}),
            "ecid,CRMID,_id,_acme.propensity.score,_acme.propensity.scoreDate,balance,born,nothing,region\r\n"
            "f1,,p1,2.5,2025-06-01T03:17:06.123Z,1.05,1970-01-02,,DE\r\n"
            "f8,c8,p8,,2025-06-01T03:17:13.123Z,8.05,1970-01-09,,US\r\n"
            "f9,,p9,,,9.05,1970-01-10,,DE\r\n");
  EXPECT_THAT(jsonl(*profiles, {.columns = {"_acme"}, .where = "_id = 'p9'"}), HasSubstr("{\"_acme\":null}"));
}

TEST_F(RowsTest, SchemaListsLeaves) {
  auto profiles = open({parquet("f.parquet", kProfiles)});
  const auto schema = profiles->schema();
  std::vector<std::string> paths;
  paths.reserve(schema.size());
  for (const auto& field : schema) paths.push_back(field.path);
  EXPECT_THAT(paths, ElementsAre("_id", "_tenant.cai.churn.score", "_tenant.cai.churn.scoreDate",
                                 "_tenant.cai.churn.factors", "identityMap", "mail.address"));
  EXPECT_TRUE(schema[1].numeric);
  EXPECT_EQ(schema[4].type, "MAP(VARCHAR, STRUCT(\"id\" VARCHAR, \"primary\" BOOLEAN)[])");
}

}  // namespace
}  // namespace caiexport::test
