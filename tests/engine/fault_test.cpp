/// The fault matrix without sockets and without waiting: the engine over a simulated platform and a clock that jumps.
/// tests/binary/fault_test.cpp has the same through the real programs.

#include <gmock/gmock.h>

#include "engine/journey.h"

namespace caiexport::engine {
namespace {

using namespace std::chrono_literals;
using core::Category;

struct Fault {
  std::string name;
  std::string scenario;               ///< Keys that are changed before the disturbed run.
  std::optional<Category> ends = {};  ///< How the disturbed run fails; a mended platform lets the next one finish.
  model::Kind kind = model::Kind::dataset;
  bool forGood = false;  ///< It is not to be resumed.
};

std::ostream& operator<<(std::ostream& out, const Fault& fault) {
  return out << fault.scenario;
}

const char* const kContent = "path=";
const char* const kCatalog = "/catalog/batches";
const char* const kNextPage = "/export/files/[^?]*[?&].*start=";

std::string rule(const std::string& path, const std::string& action, int times) {
  return R"({"match": {"path": ")" + path + R"("}, "times": )" + std::to_string(times) + R"(, "do": )" + action + "}";
}

std::string meet(const std::string& path, const std::string& action, int times = 2) {
  return R"({"faults": [)" + rule(path, action, times) + "]}";
}

/// A first rule breaks files off, so that the rest is asked for as a range.
std::string ranged(const std::string& action) {
  return R"({"faults": [)" + rule(kContent, R"({"reset_in_body": 1000})", 2) +
         R"(, {"match": {"path": "path=", "header": "Range"}, "times": 2, "do": )" + action + "}]}";
}

std::vector<Fault> faults() {
  std::vector<Fault> all{
      {.name = "ThrottledForSeconds", .scenario = meet(kContent, R"({"status": 429, "retry_after": 30})")},
      {.name = "ThrottledUntilADate", .scenario = meet(kContent, R"({"status": 429, "retry_after": "date+30"})")},
      {.name = "ThrottledWithoutAWord", .scenario = meet(kContent, R"({"status": 429})")},
      {.name = "ThrottledInAnArray",
       .scenario =
           meet(kContent, R"({"status": 429, "body": [{"message": "Too many requests", "retryAfterMs": "500"}]})")},
      {.name = "ThrottledForEver",
       .scenario = meet(kContent, R"({"status": 429, "retry_after": 1})", -1),
       .ends = Category::unavailable},
      {.name = "ServerErrorForEver",
       .scenario = meet(kCatalog, R"({"status": 503})", -1),
       .ends = Category::unavailable},
      {.name = "TokenIsNeverAccepted",
       .scenario = meet("/data/", R"({"status": 401, "body": {"error_code": "401013"}})", -1),
       .ends = Category::auth},
      {.name = "ConnectionReset", .scenario = meet("/data/", R"({"reset_before_headers": true})", 3)},
      {.name = "ClosedWithoutAnswer", .scenario = meet("/data/", R"({"close_without_answer": true})", 3)},
      {.name = "BodyReset", .scenario = meet(kContent, R"({"reset_in_body": 1000})", -1)},
      {.name = "ShortBody", .scenario = meet(kContent, R"({"short_body": 1000})", -1)},
      {.name = "AnotherRange", .scenario = ranged(R"({"wrong_range": {"shift": -100}})")},
      {.name = "RangeIgnored", .scenario = ranged(R"({"ignore_range": true})")},
      {.name = "RangeNotSatisfiable", .scenario = ranged(R"({"status": 416})")},
      {.name = "NextLoops", .scenario = meet(kNextPage, R"({"loop_next": true})", -1), .ends = Category::protocol},
      {.name = "Html", .scenario = meet(kCatalog, R"({"body_html": "<html/>"})", -1), .ends = Category::protocol},
      {.name = "ExportVanishes",
       .scenario = R"({"export_result": "VANISHED"})",
       .ends = Category::remoteFailed,
       .kind = model::Kind::segment,
       .forGood = true},
      {.name = "BatchIsListedLate", .scenario = R"({"batch_visible_after_polls": 4})", .kind = model::Kind::segment},
  };
  for (const char* status : {"500", "502", "503", "504"}) {
    all.push_back({.name = std::string("ServerError") + status,
                   .scenario = meet("/data/", std::string(R"({"status": )") + status + "}", 3)});
  }
  return all;
}

constexpr const char* kShape = R"({"files": 5, "export_files": 5, "page_limit": 2})";

class Faults : public testing::TestWithParam<Fault> {
 protected:
  static model::ExportRequest requestOf(const Journey& journey) {
    return GetParam().kind == model::Kind::dataset ? journey.datasetRequest() : journey.segmentRequest();
  }

  static std::map<std::string, std::string> undisturbed() {
    Journey journey(kShape);
    Journey::Process process(journey);
    EXPECT_FALSE(process.runner.advance(process.runner.create(requestOf(journey)).id, {}, {}).error);
    return contentOf(journey.directory / "out");
  }
};

TEST_P(Faults, AreSurvived) {
  const Fault& fault = GetParam();
  Journey journey(kShape);
  journey.world().change(fault.scenario);
  Journey::Process process(journey);
  const model::JobId job = process.runner.create(requestOf(journey)).id;
  const Outcome outcome = process.runner.advance(job, {}, {});
  ASSERT_EQ(outcome.error.has_value(), fault.ends.has_value()) << (outcome.error ? outcome.error->what() : "");
  if (outcome.error) {
    EXPECT_EQ(core::nameOf(outcome.error->category()), core::nameOf(*fault.ends)) << outcome.error->what();
  }
  if (fault.forGood) return;
  if (outcome.error) {
    journey.world().change(R"({"faults": []})");
    Journey::Process next(journey);
    const Outcome resumed = next.runner.advance(job, {}, {});
    ASSERT_FALSE(resumed.error) << resumed.error->what();
  }
  EXPECT_EQ(contentOf(journey.directory / "out"), undisturbed());
  const simulator::Statistics statistics = journey.world().statistics();
  EXPECT_LE(statistics.exportJobsAccepted, 1U);
  EXPECT_LE(statistics.datasetsCreated, 1U);
}

INSTANTIATE_TEST_SUITE_P(Matrix, Faults, testing::ValuesIn(faults()), [](const auto& row) { return row.param.name; });

TEST(RetrySchedule, IsTheDocumentedOne) {
  Journey journey;
  journey.world().change(meet(kCatalog, R"({"status": 503})", -1));
  Journey::Process process(journey);
  const Outcome outcome = process.runner.advance(process.runner.create(journey.datasetRequest()).id, {}, {});
  ASSERT_TRUE(outcome.error);
  // Six tries; full jitter: half of 1, 2, 4, 8, 16 s where chance is 0.5.
  EXPECT_THAT(journey.clock.sleeps(), testing::ElementsAre(500ms, 1s, 2s, 4s, 8s));
}

}  // namespace
}  // namespace caiexport::engine
