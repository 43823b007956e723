/// Who moved between two sets.

#include <gmock/gmock.h>

#include <cmath>

#include "caiexport/reader/score_report.h"
#include "reader_fixture.h"

namespace caiexport::test {
namespace {

using core::Category;
using reader::Standing;
using ::testing::HasSubstr;

/// A row: `{'n': 'CRMID', 'i': 'a', 's': 10.0}`; an id of NULL is nobody.
std::string people(const std::string& rows) {
  return "SELECT {'score': r.s::DOUBLE} AS cai, MAP {r.n: [{'id': r.i, 'primary': true}], 'Z': [{'id': CASE WHEN r.i "
         "IS NOT "
         "NULL THEN 'z' || r.i END, 'primary': false}]} AS identityMap FROM (SELECT unnest([" +
         rows + "]) AS r)";
}

class PairTest : public ReaderTest {
 protected:
  std::unique_ptr<reader::ScorePair> pair(const std::string& now, const std::string& before) {
    return reader().openPair({{.path = parquet("now.parquet", now)}}, {{.path = parquet("before.parquet", before)}});
  }
  std::string csvOf(reader::ScorePair& pair, const reader::PairQuery& query = {}) {
    TextOutput output;
    pair.rows(query, reader::RowFormat::csv, output, {});
    return output.text;
  }
  static std::uint64_t moved(const reader::Comparison& comparison, Standing before, Standing now) {
    return comparison.moved[static_cast<std::size_t>(before)][static_cast<std::size_t>(now)];
  }
};

constexpr const char* kBefore =
    "{'n': 'CRMID', 'i': 'rose', 's': 10.0}, {'n': 'CRMID', 'i': 'fell', 's': 90.0}, {'n': 'CRMID', 'i': 'same', 's': "
    "50.0}, "
    "{'n': 'CRMID', 'i': 'gone', 's': 75.0}, {'n': 'ECID', 'i': 'twin', 's': 1.0}, {'n': 'CRMID', 'i': NULL, 's': "
    "3.0}, "
    "{'n': 'CRMID', 'i': 'lost', 's': 30.0}";
constexpr const char* kNow =
    "{'n': 'CRMID', 'i': 'rose', 's': 80.0}, {'n': 'CRMID', 'i': 'fell', 's': 20.0}, {'n': 'CRMID', 'i': 'same', 's': "
    "51.0}, "
    "{'n': 'CRMID', 'i': 'new', 's': 24.0}, {'n': 'CRMID', 'i': 'twin', 's': 99.0}, {'n': 'CRMID', 'i': 'rose', 's': "
    "5.0}, "
    "{'n': 'CRMID', 'i': 'lost', 's': 'nan'::DOUBLE}";

TEST_F(PairTest, CountsWhoMovedAndSaysWhoCouldNotBeCompared) {
  const auto both = pair(people(kNow), people(kBefore));
  const reader::Comparison found = both->compare({}, {});
  EXPECT_EQ(found.before.records, 7U);
  EXPECT_EQ(found.before.identities, 6U);
  EXPECT_EQ(found.before.withoutIdentity, 1U);
  EXPECT_EQ(found.now.records, 7U);
  EXPECT_EQ(found.now.identities, 6U);
  EXPECT_EQ(found.now.repeated, 1U);
  EXPECT_EQ(found.now.scored, 5U);
  EXPECT_EQ(moved(found, Standing::low, Standing::high), 1U) << "of the two records of `rose` the higher counts";
  EXPECT_EQ(moved(found, Standing::high, Standing::low), 1U);
  EXPECT_EQ(moved(found, Standing::medium, Standing::medium), 1U);
  EXPECT_EQ(moved(found, Standing::medium, Standing::unscored), 1U) << "NaN is no score";
  EXPECT_EQ(moved(found, Standing::high, Standing::absent), 1U);
  EXPECT_EQ(moved(found, Standing::low, Standing::absent), 1U) << "`twin` is another one in another namespace";
  EXPECT_EQ(found.appeared(), 2U);
  EXPECT_EQ(found.disappeared(), 2U);
  EXPECT_EQ(found.changed(), 3U);
  EXPECT_EQ(found.both, 3U);
  EXPECT_EQ(found.rose, 2U);
  EXPECT_EQ(found.fell, 1U);
  EXPECT_NEAR(found.meanChange.value_or(0), (70.0 - 70 + 1) / 3, 1e-9);
}

TEST_F(PairTest, ListsThoseWhoMoved) {
  EXPECT_EQ(csvOf(*pair(people(kNow), people(kBefore))),
            "namespace,id,score_before,score_now,change,bucket_before,bucket_now,moved\r\n"
            "CRMID,gone,75.0,,,high,,gone\r\n"
            "ECID,twin,1.0,,,low,,gone\r\n"
            "CRMID,fell,90.0,20.0,-70.0,high,low,high to low\r\n"
            "CRMID,rose,10.0,80.0,70.0,low,high,low to high\r\n"
            "CRMID,lost,30.0,,,medium,unscored,medium to unscored\r\n"
            "CRMID,new,,24.0,,,low,new\r\n"
            "CRMID,twin,,99.0,,,high,new\r\n");
}

TEST_F(PairTest, AnIdentityOfChoiceJoinsOtherwise) {
  const auto found = pair(people(kNow), people(kBefore))->compare({.identity = "z"}, {});
  EXPECT_EQ(found.both, 4U) << "`twin` is the same in the namespace Z";
  EXPECT_EQ(found.identity, "z");
  EXPECT_EQ(errorOf([&] { pair(people(kNow), people(kBefore))->compare({.identity = "email"}, {}); }).category(),
            Category::usage);
}

TEST_F(PairTest, WithoutIdentitiesTheRowsIdDoes) {
  const auto found =
      pair("SELECT 'a' AS _id, {'score': 10} AS g", "SELECT 'a' AS _id, {'score': 80} AS g")->compare({}, {});
  EXPECT_EQ(found.identity, "_id");
  EXPECT_EQ(moved(found, Standing::high, Standing::low), 1U);
  EXPECT_EQ(
      errorOf([&] { pair("SELECT {'score': 10} AS g", "SELECT {'score': 80} AS g")->compare({}, {}); }).category(),
      Category::usage);
  EXPECT_EQ(errorOf([&] { pair("SELECT 1 AS a", "SELECT 1 AS a")->compare({}, {}); }).category(), Category::notFound);
}

TEST_F(PairTest, IdentitiesMayBeAStruct) {
  const std::string map =
      "{'ECID': [{'id': 'e', 'primary': false}], 'CRMID': [{'id': 'c', 'primary': true}]} AS identityMap";
  const auto both = pair("SELECT {'score': 10} AS g, " + map, "SELECT {'score': 80} AS g, " + map);
  EXPECT_THAT(csvOf(*both), HasSubstr("\r\nCRMID,c,80.0,10.0,-70.0,high,low,high to low\r\n"));
}

TEST_F(PairTest, OfSeveralPrimaryIdentitiesOrNoneTheFirstNamespaceCounts) {
  const auto set = [](int score) {
    const std::string group = "{'score': " + std::to_string(score) + "} AS g, ";
    const auto person = [&group](const std::string& map) { return "SELECT " + group + map + " AS identityMap"; };
    return person("MAP {'B': [{'id': 'two-b', 'primary': true}], 'A': [{'id': 'two-a', 'primary': true}]}") +
           " UNION ALL " +
           person("MAP {'B': [{'id': 'none-b', 'primary': false}], 'A': [{'id': 'none-a', 'primary': NULL}]}") +
           " UNION ALL " +
           person("MAP {'A': [{'id': NULL, 'primary': true}], 'B': [{'id': 'left-b', 'primary': false}]}") +
           " UNION ALL " +
           person("MAP {'A': [{'id': 'a', 'primary': false}], 'B': [{'id': 'one-b', 'primary': true}]}") +
           " UNION ALL " + person("NULL");
  };
  const auto both = pair(set(10), set(80));
  EXPECT_EQ(csvOf(*both),
            "namespace,id,score_before,score_now,change,bucket_before,bucket_now,moved\r\n"
            "A,none-a,80.0,10.0,-70.0,high,low,high to low\r\n"
            "A,two-a,80.0,10.0,-70.0,high,low,high to low\r\n"
            "B,left-b,80.0,10.0,-70.0,high,low,high to low\r\n"
            "B,one-b,80.0,10.0,-70.0,high,low,high to low\r\n");
  const reader::Comparison found = both->compare({}, {});
  EXPECT_EQ(found.both, 4U);
  EXPECT_EQ(found.before.withoutIdentity, 1U);
  EXPECT_EQ(moved(found, Standing::absent, Standing::absent), 0U);
}

TEST_F(PairTest, DriftIsThePopulationStabilityIndex) {
  // Half of the people in the lowest tenth and half in the highest; then nine tenths and one.
  const auto set = [](int low) {
    return "SELECT i::VARCHAR AS _id, {'score': CASE WHEN i < " + std::to_string(low) +
           " THEN 5.0 ELSE 95.0 END} AS g FROM range(1000) t(i)";
  };
  const auto found = pair(set(900), set(500))->compare({}, {});
  const double expected = (0.9 - 0.5) * std::log(0.9 / 0.5) + (0.1 - 0.5) * std::log(0.1 / 0.5);
  EXPECT_NEAR(found.drift.value_or(0), expected, 1e-9);
  EXPECT_NEAR(pair(set(500), set(500))->compare({}, {}).drift.value_or(1), 0, 1e-12);
  EXPECT_STREQ(reader::driftWord(expected), "much");
}

TEST_F(PairTest, ReportsSayTheSame) {
  const reader::Comparison found = pair(people(kNow), people(kBefore))->compare({}, {});
  const std::string text = reader::textReport(found, {.source = "job 2"}, {.source = "job 1"});
  EXPECT_THAT(text, HasSubstr("3 changed bucket, 2 are new, 2 are gone"));
  EXPECT_THAT(text, HasSubstr("rows without an identity cannot be compared"));
  EXPECT_THAT(text, HasSubstr("if several rows have the same identity, the highest score counts"));
  const std::string json = reader::jsonReport(found, {.source = "job 2"}, {.source = "job 1"});
  EXPECT_THAT(json, HasSubstr("{\"before\": \"low\", \"now\": \"high\", \"count\": 1}"));
  EXPECT_THAT(json, HasSubstr("\"repeated\": 1"));
  EXPECT_EQ(reader::sheetReport(found, {}, {}).size(), 2U);
}

TEST_F(PairTest, AMillionAgainstAMillionInLittleMemory) {
  settings_.memoryBytes = 128U << 20U;
  settings_.tempDirectory = folder_ / "spill";
  const auto set = [](int salt) {
    return "SELECT 'customer-' || md5(i::VARCHAR) AS _id, {'score': (hash(i + " + std::to_string(salt) +
           ") % 100)::DOUBLE} AS g FROM range(1000000) t(i)";
  };
  const auto found = pair(set(1), set(2))->compare({}, {});
  EXPECT_EQ(found.both, 1'000'000U);
  EXPECT_EQ(found.appeared() + found.disappeared(), 0U);
}

}  // namespace
}  // namespace caiexport::test
