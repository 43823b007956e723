#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "caiexport/core/memory.h"
#include "parquet_bytes.h"
#include "reader_fixture.h"

namespace caiexport::test {
namespace {

using core::Category;
using core::Error;
using reader::ScoreSummary;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ScoresTest : public ReaderTest {
 protected:
  ScoreSummary scores(const std::string& select, const std::string& field = "") {
    return open({parquet("f.parquet", select)})->scores(field, {});
  }
  /// The only column, as text.
  std::vector<std::string> lines(const std::string& select) {
    const fs::path path = folder_.path() / "lines.csv";
    writer_.run("COPY (" + select + ") TO " + Writer::quoted(path.string()) + " (FORMAT csv, HEADER false)");
    std::ifstream stream(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
  }
  double wanted(const std::string& sql) { return std::stod(writer_.value(sql)); }
};

TEST_F(ScoresTest, TheStoryNamesTheModelAndTheFactorsOfEachBucket) {
  auto profiles =
      open({parquet("f.parquet",
                    "SELECT {'score': s, 'propensityType': 'churn', 'modelVersion': 17, 'factors': [{'name': "
                    "'f' || floor(s / 30)::INTEGER, 'importance': 'high'}]} AS g FROM (SELECT unnest([0.0, 24.0, "
                    "25.0, 74.9, 75.0, 99.0, NULL]) AS s)")});
  const reader::ScoreStory story = profiles->story("", {});
  EXPECT_THAT(story.propensity, ElementsAre("churn"));
  EXPECT_THAT(story.modelVersions, ElementsAre("17"));
  ASSERT_EQ(story.factors[0].size(), 1U);
  EXPECT_EQ(story.factors[0][0].name, "f0");
  EXPECT_EQ(story.factors[0][0].count, 2U);
  ASSERT_EQ(story.factors[1].size(), 2U);
  EXPECT_EQ(story.factors[2].size(), 2U);
  EXPECT_TRUE(open({parquet("g.parquet", "SELECT 1 AS score")})->story("", {}).propensity.empty());
}

TEST_F(ScoresTest, AgreesWithSql) {
  const std::string values =
      "SELECT CASE WHEN i % 50 = 0 THEN NULL ELSE (hash(i) % 100001)::DOUBLE / 1000 END AS s FROM "
      "range(60000) r(i)";
  const ScoreSummary summary = scores("SELECT {'cai': {'score': s}} AS _t FROM (" + values + ")");
  EXPECT_EQ(summary.field, "_t.cai.score");
  EXPECT_EQ(summary.records, 60'000U);
  EXPECT_EQ(summary.scored, 58'800U);
  EXPECT_EQ(summary.unscored, 1'200U);
  EXPECT_EQ(summary.outside, 0U);
  const auto sql = [&](const std::string& expression) {
    return wanted("SELECT " + expression + " FROM (" + values + ")");
  };
  EXPECT_DOUBLE_EQ(*summary.min, sql("min(s)"));
  EXPECT_DOUBLE_EQ(*summary.max, sql("max(s)"));
  EXPECT_NEAR(*summary.mean, sql("avg(s)"), 1e-9);
  EXPECT_NEAR(*summary.stddev, sql("stddev_samp(s)"), 1e-9);
  EXPECT_NEAR(*summary.p05, sql("quantile_cont(s, 0.05)"), 1e-9);
  EXPECT_NEAR(*summary.p25, sql("quantile_cont(s, 0.25)"), 1e-9);
  EXPECT_NEAR(*summary.p50, sql("quantile_cont(s, 0.50)"), 1e-9);
  EXPECT_NEAR(*summary.p75, sql("quantile_cont(s, 0.75)"), 1e-9);
  EXPECT_NEAR(*summary.p95, sql("quantile_cont(s, 0.95)"), 1e-9);
  EXPECT_EQ(summary.low, sql("count(*) FILTER (s < 25)"));
  EXPECT_EQ(summary.medium, sql("count(*) FILTER (s >= 25 AND s < 75)"));
  EXPECT_EQ(summary.high, sql("count(*) FILTER (s >= 75)"));
  for (std::size_t bin = 0; bin < ScoreSummary::kBins; ++bin) {
    const std::string index = std::to_string(bin);
    EXPECT_EQ(summary.histogram[bin],
              sql("count(*) FILTER (s IS NOT NULL AND least(floor(s / 5), 19) = " + index + ")"))
        << bin;
  }
}

TEST_F(ScoresTest, EdgesOfBucketsAndBins) {
  const ScoreSummary summary = scores(
      "SELECT s AS score FROM (VALUES (0.0), (4.999), (5.0), (24.999), (25.0), (74.999), (75.0), (95.0), (100.0)) "
      "v(s)");
  EXPECT_EQ(summary.low, 4U);
  EXPECT_EQ(summary.medium, 2U);
  EXPECT_EQ(summary.high, 3U);
  EXPECT_EQ(summary.histogram[0], 2U);
  EXPECT_EQ(summary.histogram[1], 1U);
  EXPECT_EQ(summary.histogram[4], 1U);
  EXPECT_EQ(summary.histogram[5], 1U);
  EXPECT_EQ(summary.histogram[19], 2U);
}

TEST_F(ScoresTest, NotFiniteIsUnscoredAndOutsideIsCounted) {
  const ScoreSummary summary =
      scores("SELECT s AS score FROM (VALUES ('nan'::DOUBLE), ('inf'), ('-inf'), (NULL), (-5), (100.5), (50)) v(s)");
  EXPECT_EQ(summary.records, 7U);
  EXPECT_EQ(summary.unscored, 4U);
  EXPECT_EQ(summary.scored, 3U);
  EXPECT_EQ(summary.outside, 2U);
  EXPECT_EQ(summary.low, 1U);
  EXPECT_EQ(summary.high, 1U);
  EXPECT_EQ(*summary.min, -5);
  EXPECT_EQ(*summary.max, 100.5);
  EXPECT_EQ(summary.histogram[10], 1U);
  EXPECT_EQ(summary.histogram[0] + summary.histogram[19], 0U);
}

TEST_F(ScoresTest, NoneAndOne) {
  const ScoreSummary none = scores("SELECT NULL::DOUBLE AS score FROM range(3)");
  EXPECT_EQ(none.records, 3U);
  EXPECT_FALSE(none.mean || none.p50 || none.min || none.stddev);
  const ScoreSummary empty = scores("SELECT 1.0 AS score WHERE false");
  EXPECT_EQ(empty.records, 0U);
  const ScoreSummary one = scores("SELECT 7 AS score");
  EXPECT_EQ(*one.mean, 7);
  EXPECT_EQ(*one.p05, 7);
  EXPECT_EQ(*one.p95, 7);
  EXPECT_FALSE(one.stddev);
}

TEST_F(ScoresTest, NumbersOfAnyKind) {
  for (const char* type : {"TINYINT", "INTEGER", "BIGINT", "FLOAT", "DECIMAL(9,3)", "UTINYINT"}) {
    EXPECT_EQ(*scores(std::string("SELECT {'Score': 42::") + type + "} AS g").mean, 42) << type;
  }
}

TEST_F(ScoresTest, FindsTheFieldOrSaysWhatThereIs) {
  auto several =
      open({parquet("s.parquet", "SELECT {'a': {'score': 1.0}, 'b': {'score': 2.0}, 'c': {'score': 'text'}} AS t")});
  EXPECT_THAT(several->scoreFields(), ElementsAre("t.a.score", "t.b.score"));
  const Error many = errorOf([&] { several->scores("", {}); });
  EXPECT_EQ(many.category(), Category::usage);
  EXPECT_THAT(many.what(), HasSubstr("t.a.score, t.b.score"));
  EXPECT_EQ(*several->scores("T.B.score", {}).mean, 2);
  EXPECT_EQ(errorOf([&] { several->scores("t.c.score", {}); }).category(), Category::usage);
  EXPECT_EQ(errorOf([&] { several->scores("t.none", {}); }).category(), Category::usage);
  auto none = open({parquet("n.parquet", "SELECT 1.5 AS points, {'rank': 3, 'word': 'x'} AS g, [{'score': 1}] AS l")});
  const Error missing = errorOf([&] { none->scores("", {}); });
  EXPECT_EQ(missing.category(), Category::notFound);
  EXPECT_THAT(missing.hint(), HasSubstr("points, g.rank"));
  EXPECT_EQ(*none->scores("g.rank", {}).mean, 3);
}

TEST_F(ScoresTest, DatesAndFactorsOfTheGroup) {
  const ScoreSummary summary = scores(
      "SELECT {'score': i::DOUBLE, 'expiryDate': DATE '2030-01-01',"
      " 'scoreDate': TIMESTAMPTZ '2025-06-01 00:00:00+00' + INTERVAL 1 HOUR * i,"
      " 'influentialFactors': [{'name': 'visits', 'importance': 0.5}, {'name': CASE WHEN i < 3 THEN 'opens' END,"
      "   'importance': 2.0 * i}, NULL]} AS g FROM range(5) r(i)");
  EXPECT_EQ(summary.scoreDateFrom->time_since_epoch(), std::chrono::milliseconds(1748736000000));
  EXPECT_EQ(*summary.scoreDateTo - *summary.scoreDateFrom, std::chrono::hours(4));
  ASSERT_EQ(summary.factors.size(), 2U);
  EXPECT_EQ(summary.factors[0].name, "opens");
  EXPECT_EQ(summary.factors[0].count, 3U);
  EXPECT_DOUBLE_EQ(*summary.factors[0].meanImportance, 2.0);
  EXPECT_EQ(summary.factors[1].count, 5U);
}

TEST_F(ScoresTest, FactorsInWordsAndOnlyOfTheScored) {
  const ScoreSummary summary = open({fs::path(CAIEXPORT_FIXTURES) / "arrow_rs.snappy.parquet"})->scores("", {});
  EXPECT_EQ(summary.field, "_acme.propensity.score");
  EXPECT_EQ(summary.records, 40U);
  EXPECT_EQ(summary.scored, 32U);
  ASSERT_EQ(summary.factors.size(), 2U);
  EXPECT_EQ(summary.factors[0].name, "webVisits");
  EXPECT_EQ(summary.factors[0].low, 0U);
  EXPECT_EQ(summary.factors[0].count, summary.factors[0].medium + summary.factors[0].high);
  EXPECT_EQ(summary.factors[1].low, summary.factors[1].count);
  std::uint64_t scoredWithFactors = 0;
  for (int index = 0; index < 40; ++index) scoredWithFactors += index % 10 < 8 && index % 3 != 0 ? 1 : 0;
  EXPECT_EQ(summary.factors[1].count, scoredWithFactors);
}

TEST_F(ScoresTest, ImportancesThatAreNoNumbers) {
  const ScoreSummary summary = scores(
      "SELECT {'score': 1.0, 'factors': [{'name': 'a', 'importance': 'nan'::DOUBLE}, {'name': 'a', 'importance': 1.0},"
      " {'name': 'b', 'importance': NULL}]} AS g");
  ASSERT_EQ(summary.factors.size(), 2U);
  EXPECT_EQ(summary.factors[0].name, "a");
  EXPECT_EQ(*summary.factors[0].meanImportance, 1.0);
  EXPECT_FALSE(summary.factors[1].meanImportance);
}

TEST_F(ScoresTest, SparkScoreDate) {
  // A plain INT96 beside the score, as older Spark writes it.
  const fs::path path =
      file("spark", parquetBytes({{"score", PhysicalType::real, plain<double>({10, 20})},
                                  {"scoreDate", PhysicalType::int96, int96(0, 2440588) + int96(0, 2440589)}},
                                 2));
  const ScoreSummary summary = open({path})->scores("", {});
  EXPECT_EQ(*summary.mean, 15);
  EXPECT_EQ(summary.scoreDateTo->time_since_epoch(), std::chrono::hours(24));
}

TEST_F(ScoresTest, FieldMissingInSomeFiles) {
  auto profiles =
      open({parquet("1", "SELECT {'score': 1.0} AS g"), parquet("2", "SELECT {'other': 2} AS g FROM range(3)")});
  const ScoreSummary summary = profiles->scores("", {});
  EXPECT_EQ(summary.records, 4U);
  EXPECT_EQ(summary.scored, 1U);
}

TEST_F(ScoresTest, NamesLikeSqlAreNames) {
  EXPECT_EQ(*scores("SELECT {'x'' \"y': {'score': 3.0}} AS \"a\"\" b'\"").mean, 3);
}

/// As quantile_cont.
double quantileOf(const std::vector<double>& sorted, double share) {
  const double position = static_cast<double>(sorted.size() - 1) * share;
  const auto below = static_cast<std::size_t>(position);
  const double above = sorted[std::min(below + 1, sorted.size() - 1)];
  return sorted[below] + (above - sorted[below]) * (position - static_cast<double>(below));
}

TEST_F(ScoresTest, QuantilesAreExactWhateverTheValuesAndTheThreads) {
  const std::vector<std::string> shapes{"(hash(i) % 1000000)::DOUBLE / 1e4",
                                        "7.5",
                                        "(hash(i) % 3)::DOUBLE - 1",
                                        "-(hash(i) % 100000)::DOUBLE / 7",
                                        "pow(10, (hash(i) % 600)::DOUBLE - 300)",
                                        "i::DOUBLE",
                                        "CASE WHEN i % 20 = 0 THEN 1e300 ELSE -i / 3 END",
                                        "(i % 101)::DOUBLE"};
  for (const unsigned threads : {1U, 3U}) {
    for (const std::uint64_t rows : {1U, 2U, 3U, 21U, 250'001U}) {
      for (const std::string& shape : shapes) {
        settings_.threads = threads;
        reader_.reset();
        const std::string values = "SELECT " + shape + " AS score FROM range(" + std::to_string(rows) + ") r(i)";
        const ScoreSummary summary = scores(values);
        std::vector<double> sorted;
        for (const std::string& line : lines(values)) sorted.push_back(std::stod(line));
        std::ranges::sort(sorted);
        const std::string what = shape + ", " + std::to_string(rows) + " rows, " + std::to_string(threads) + " threads";
        EXPECT_EQ(summary.scored, rows) << what;
        EXPECT_EQ(*summary.min, sorted.front()) << what;
        EXPECT_EQ(*summary.max, sorted.back()) << what;
        EXPECT_EQ(*summary.p05, quantileOf(sorted, 0.05)) << what;
        EXPECT_EQ(*summary.p25, quantileOf(sorted, 0.25)) << what;
        EXPECT_EQ(*summary.p50, quantileOf(sorted, 0.50)) << what;
        EXPECT_EQ(*summary.p75, quantileOf(sorted, 0.75)) << what;
        EXPECT_EQ(*summary.p95, quantileOf(sorted, 0.95)) << what;
        EXPECT_EQ(summary.low + summary.medium + summary.high, rows) << what;
        const auto belowMedium = std::ranges::lower_bound(sorted, 25.0) - sorted.begin();
        EXPECT_EQ(summary.low, static_cast<std::uint64_t>(belowMedium)) << what;
      }
    }
  }
}

TEST_F(ScoresTest, TheDeviationDoesNotDependOnTheThreads) {
  const fs::path path = parquet("f", "SELECT (hash(i) % 1000003)::DOUBLE / 7 AS score FROM range(400000) r(i)");
  std::vector<double> deviations;
  for (const unsigned threads : {1U, 2U, 3U, 4U}) {
    settings_.threads = threads;
    reader_.reset();
    deviations.push_back(*open({path})->scores("", {}).stddev);
  }
  EXPECT_THAT(deviations, Each(deviations.front()));
}

std::uint64_t bytesRead() {
  std::ifstream stream("/proc/self/io");
  std::string name;
  std::uint64_t bytes = 0;
  stream >> name >> bytes;
  return bytes;
}

TEST_F(ScoresTest, OnlyTheColumnsThatMatterAreRead) {
  if (!fs::exists("/proc/self/io")) GTEST_SKIP() << "NOT CHECKED: the system does not count bytes read";
  const std::uint64_t scored = fs::file_size(parquet("s", "SELECT i::DOUBLE AS score FROM range(100000) r(i)"));
  const fs::path path =
      parquet("f", "SELECT i::DOUBLE AS score, md5(i::VARCHAR) || md5((i + 1)::VARCHAR) AS t FROM range(100000) r(i)");
  ASSERT_GT(fs::file_size(path), 4 * scored);
  const auto profiles = open({path});
  const std::uint64_t before = bytesRead();
  profiles->scores("", {});
  EXPECT_LT(bytesRead() - before, scored + scored / 2) << "once, and no other column";
}

TEST_F(ScoresTest, StopInterrupts) {
  auto profiles = open({parquet("f", "SELECT i::DOUBLE AS score FROM range(100000) r(i)")});
  std::stop_source source;
  source.request_stop();
  EXPECT_THROW(profiles->scores("", source.get_token()), core::Interrupted);
}

TEST_F(ScoresTest, MemoryForThePercentilesIsBounded) {
  settings_.memoryBytes = 1U << 20U;
  auto profiles = open({parquet("f", "SELECT i::DOUBLE AS score FROM range(200000) r(i)")});
  const Error error = errorOf([&] { profiles->scores("", {}); });
  EXPECT_EQ(error.category(), Category::io);
  EXPECT_TRUE(core::isOutOfMemory(error)) << "the command adds the option that it has";
}

}  // namespace
}  // namespace caiexport::test
