/// `datasets` and `segments` with the real programs.

#include <algorithm>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;
using testing::Not;

class Lists : public BinaryTest {
 protected:
  static Poco::JSON::Array::Ptr parseArray(const std::string& text) {
    return Poco::JSON::Parser().parse(text).extract<Poco::JSON::Array::Ptr>();
  }
};

TEST_F(Lists, FindTheScoreDatasetAmongManyPages) {
  startWith(R"({"other_datasets": 230})");
  const Ended found = run({"datasets", "--search", "customer ai", "--format", "json"});
  ASSERT_EQ(found.code, 0) << found.err;
  const auto entries = parseArray(found.out);
  ASSERT_EQ(entries->size(), 1U);
  EXPECT_EQ(entries->getObject(0)->getValue<std::string>("id"), kScoreDataset);
  EXPECT_EQ(entries->getObject(0)->getValue<std::string>("kind"), "scores");

  const Ended all = run({"datasets", "--limit", "0", "--format", "json"});
  ASSERT_EQ(all.code, 0) << all.err;
  const auto everything = parseArray(all.out);
  ASSERT_EQ(everything->size(), 231U);
  std::vector<std::string> times;
  for (std::size_t i = 0; i < everything->size(); ++i) {
    times.push_back(everything->getObject(static_cast<unsigned>(i))->getValue<std::string>("created_at"));
  }
  EXPECT_TRUE(std::ranges::is_sorted(times, std::ranges::greater())) << "newest first";

  const Ended some = run({"datasets"});
  ASSERT_EQ(some.code, 0) << some.err;
  EXPECT_THAT(some.err, HasSubstr("the newest 20 of 231;"));
}

TEST_F(Lists, FindSegmentsAmongManyPages) {
  startWith(R"({"other_segments": 130})");
  const Ended found = run({"segments", "--search", "HIGH CHURN", "--format", "csv"});
  ASSERT_EQ(found.code, 0) << found.err;
  EXPECT_THAT(found.out, testing::StartsWith("id,name,merge_policy_id,updated_at,namespace,origin,state,members\r\n" +
                                             std::string(kSegment) + ","));
  const Ended all = run({"segments", "--limit", "0", "--format", "json"});
  ASSERT_EQ(all.code, 0) << all.err;
  const auto listed = parseArray(all.out);
  ASSERT_EQ(listed->size(), 132U);
  std::string foreign;
  for (unsigned i = 0; i < listed->size(); ++i) {
    const auto entry = listed->getObject(i);
    if (entry->getValue<std::string>("namespace") == "AAM") foreign += entry->getValue<std::string>("id");
    EXPECT_GT(entry->getValue<int>("members"), 0);
  }
  EXPECT_EQ(foreign, "21345678");
  changeScenario(R"({"audiences": false})");
  const Ended own = run({"segments", "--limit", "0", "--format", "json"});
  EXPECT_EQ(own.code, 0) << own.err;
  EXPECT_EQ(parseArray(own.out)->size(), 131U) << "the definitions, where audiences are forbidden";
  EXPECT_THAT(run({"segments"}).out, HasSubstr("updated"));
}

TEST_F(Lists, DefinitionsAreListedWhereAudiencesAreNotOfferedAndOnlyThere) {
  startWith(R"({"other_segments": 130})");
  const auto audiencesAnswer = [&](int status, int skip) {
    changeScenario(R"({"faults": [{"match": {"path": "/ups/audiences"}, "times": -1, "skip": )" + std::to_string(skip) +
                   R"(, "do": {"status": )" + std::to_string(status) +
                   R"(, "body": {"title": "Not here", "type": "/placeholder/type/uri"}}}]})");
    return run({"segments", "--limit", "0", "--format", "json", "--retry-wait", "1ms"});
  };
  for (const int status : {403, 404, 405, 501}) {
    const Ended own = audiencesAnswer(status, 0);
    ASSERT_EQ(own.code, 0) << status << own.err;
    EXPECT_EQ(parseArray(own.out)->size(), 131U) << status;
    EXPECT_THAT(own.err, HasSubstr("audiences of other origins can't be listed here")) << status;
  }
  EXPECT_EQ(audiencesAnswer(500, 0).code, 7) << "trouble, which passes";
  EXPECT_EQ(audiencesAnswer(401, 0).code, 3) << "said of the caller, not of the list";
  // What the first page told would be listed twice.
  EXPECT_EQ(audiencesAnswer(403, 1).code, 3);
}

TEST_F(Lists, NamesRunNothingInAnyFormat) {
  startWith(R"({"faults": [{"match": {"path": "/catalog/dataSets"}, "times": -1, "do": {"status": 200, "body":
      {"5f0000000000000000000009": {"name": "=cmd|'/C calc'!A0\u001b]0;x\u0007\u202e\u009b", "created": 1780000000000}}}}]})");
  for (const char* format : {"csv", "json", "table"}) {
    const Ended listed = run({"datasets", "--format", format});
    ASSERT_EQ(listed.code, 0) << listed.err;
    EXPECT_THAT(listed.out, HasSubstr("calc"));
    for (const char* bad : {"\x1b", "\a", "\u202e", "\u009b"}) {
      EXPECT_THAT(listed.out, testing::Not(HasSubstr(bad))) << format;
    }
    if (format == std::string("csv")) {
      EXPECT_THAT(listed.out, HasSubstr(",'=cmd|"));
    }
  }
}

TEST_F(Lists, NothingFoundIsNoFailure) {
  startSimulator();
  const Ended none = run({"datasets", "--search", "no such name", "--format", "json"});
  EXPECT_EQ(none.code, 0) << none.err;
  EXPECT_EQ(none.out, "[]\n");
  EXPECT_THAT(none.err, HasSubstr("no dataset in sandbox prod has 'no such name'"));
  const Ended empty = run({"segments", "--sandbox", "dev"});
  EXPECT_EQ(empty.code, 0) << empty.err;
  EXPECT_EQ(empty.out, "");
  EXPECT_THAT(empty.err, HasSubstr("no segment in sandbox dev"));
}

TEST_F(Lists, AnUnknownSandboxIsAFailureWithADocument) {
  startSimulator();
  const Ended ended = run({"datasets", "--sandbox", "nowhere", "--format", "json"});
  EXPECT_NE(ended.code, 0);
  EXPECT_THAT(ended.out, HasSubstr("\"job\": null"));
}

}  // namespace
}  // namespace caiexport::binary
