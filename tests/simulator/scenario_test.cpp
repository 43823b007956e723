#include <gmock/gmock.h>

#include <fstream>

#include "caiexport/core/error.h"
#include "simulator/options.h"
#include "simulator/platform.h"
#include "support/temp_directory.h"

namespace caiexport::simulator {
namespace {

using testing::HasSubstr;

/// The message of the refusal; empty if there is none.
std::string refusal(const std::string& json) {
  try {
    scenarioFrom(json);
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::usage);
    return error.what();
  }
  return "";
}

TEST(Scenarios, EveryBuiltInOneIsValidAndDescribed) {
  ASSERT_GE(builtinScenarios().size(), 10U);
  for (const BuiltinScenario& builtin : builtinScenarios()) {
    const std::string name(builtin.name);
    EXPECT_NO_THROW(loadScenario(name)) << name;
    EXPECT_TRUE(stringIn(asObject(parseJson(std::string(builtin.json))), "description")) << name;
  }
}

TEST(Scenarios, BadOnesAreRefusedByName) {
  EXPECT_THAT(refusal("[]"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(refusal("{"), HasSubstr("is not JSON"));
  EXPECT_THAT(refusal(R"({"batchs": 1})"), HasSubstr("'batchs'"));
  EXPECT_THAT(refusal(R"({"batches": "many"})"), HasSubstr("batches must be an integer"));
  EXPECT_THAT(refusal(R"({"batches": -1})"), HasSubstr("batches must not be negative"));
  EXPECT_THAT(refusal(R"({"page_limit": 0})"), HasSubstr("page_limit must be at least 1"));
  EXPECT_THAT(refusal(R"({"export_result": "LOST"})"), HasSubstr("SUCCEEDED, SUCCEEDED_WITH_ERRORS"));
  EXPECT_THAT(refusal(R"({"faults": [{"do": {"explode": true}}]})"), HasSubstr("'explode'"));
  EXPECT_THAT(refusal(R"({"faults": [{"match": {}}]})"), HasSubstr("do is missing"));
  EXPECT_THAT(refusal(R"({"faults": [{"match": {"path": "("}, "do": {"status": 500}}]})"),
              HasSubstr("regular expression"));
}

TEST(Scenarios, ARefusedChangeChangesNothing) {
  Scenario scenario;
  EXPECT_THROW(applyScenario(scenario, R"({"batches": 9, "nonsense": 1})"), core::Error);
  EXPECT_EQ(scenario.batches, 3U);
}

TEST(Scenarios, AreReadFromAFile) {
  const support::TempDirectory folder;
  std::ofstream(folder / "mine.json") << R"({"batches": 7})";
  EXPECT_EQ(loadScenario((folder / "mine.json").string()).batches, 7U);
  EXPECT_THROW(loadScenario((folder / "none.json").string()), core::Error);
}

TEST(Scenarios, BeginWithTheLiveWorldUnlessTheySayPlain) {
  const support::TempDirectory folder;
  const auto fromFile = [&](const std::string& json) {
    std::ofstream(folder / "mine.json") << json;
    return loadScenario((folder / "mine.json").string());
  };
  const Scenario live = fromFile(R"({"batches": 7})");
  EXPECT_TRUE(live.trackingBatches);
  EXPECT_EQ(live.consolidations, 1U);
  EXPECT_EQ(live.supersededBatches, 1U);
  EXPECT_EQ(live.supersededStatus, "inactive");
  const Scenario plain = fromFile(R"({"consolidations": 2, "world": "plain"})");
  EXPECT_FALSE(plain.trackingBatches);
  EXPECT_EQ(plain.consolidations, 2U) << "what is named stands, wherever it is named";
  EXPECT_EQ(plain.supersededStatus, "");
  for (const BuiltinScenario& builtin : builtinScenarios()) {
    EXPECT_EQ(loadScenario(std::string(builtin.name)).trackingBatches, builtin.name != "plain") << builtin.name;
  }
  EXPECT_THAT(refusal(R"({"world": "flat"})"), HasSubstr("world must be one of live, plain"));
}

TEST(RunningWorld, TakesChangesOfItsShape) {
  Platform platform;
  EXPECT_EQ(platform.control("scenario", R"({"batches": 5, "failed_batches": 0})").status, 200);
  EXPECT_EQ(keysOf(jsonIn(platform.get(scoreBatches))).size(), 5U);
  EXPECT_EQ(platform.control("scenario", R"({"nonsense": 5})").status, 400);
  EXPECT_EQ(platform.control("scenario", "nonsense").status, 400);
}

TEST(RunningWorld, GetsNewBatchesThatReplaceOthers) {
  Platform platform;
  const std::string newest = scoreBatches + "&status=success&orderBy=desc:created&limit=1";
  const std::string before = keysOf(jsonIn(platform.get(newest)))[0];
  ASSERT_EQ(platform.control("batches", R"({"count": 1, "replay": true, "records": 12})").status, 200);
  const JsonObject answer = jsonIn(platform.get(newest));
  const std::string after = keysOf(answer)[0];
  EXPECT_NE(before, after);
  EXPECT_EQ(textOf(objectIn(objectIn(answer, after), "replay")->get("predecessors")), "[\"" + before + "\"]");
  EXPECT_EQ(platform.control("batch", "{\"id\": \"" + after + "\"}").status, 200);
  EXPECT_EQ(keysOf(jsonIn(platform.get(newest)))[0], before);
  EXPECT_EQ(platform.control("batch", "{\"id\": \"" + after + "\"}").status, 404);
}

TEST(RunningWorld, TellsItsState) {
  Platform platform;
  platform.get(scoreBatches);
  platform.get(batchesPath + "/unknown");
  platform.newDataset("mine");
  const JsonObject state = jsonIn(platform.send("GET", "/_simulator/state", {}));
  EXPECT_EQ(state->getValue<int>("datasets_created"), 1);
  EXPECT_EQ(objectIn(state, "requests")->getValue<int>("GET /data/foundation/catalog/batches"), 1);
  EXPECT_EQ(objectIn(state, "requests")->getValue<int>("GET /data/foundation/catalog/batches/{id}"), 1);
  EXPECT_EQ(objectIn(state, "answers")->getValue<int>("404"), 1);
  EXPECT_EQ(arrayIn(state, "datasets")->size(), 4U);
  EXPECT_EQ(textOf(state), platform.world.stateJson());
}

Options optionsOf(std::vector<const char*> words) {
  return parseOptions(words);
}

TEST(CommandLine, OptionsChangeTheScenario) {
  const Options options =
      optionsOf({"--scenario", "paged", "--batches=4", "--records", "9", "--port", "81", "--tls", "C", "K"});
  EXPECT_EQ(options.port, 81);
  EXPECT_EQ(options.keyFile, "K");
  EXPECT_EQ(scenarioOf(options).batches, 4U);
  EXPECT_EQ(scenarioOf(options).records, 9U);
  EXPECT_EQ(scenarioOf(options).files, 250U);
}

TEST(CommandLine, MistakesAreNamed) {
  const auto mistake = [](std::vector<const char*> words) -> std::string {
    try {
      parseOptions(words);
    } catch (const core::Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(mistake({"--recods", "1"}), HasSubstr("--recods"));
  EXPECT_THAT(mistake({"extra"}), HasSubstr("extra"));
  EXPECT_THAT(mistake({"--records"}), HasSubstr("--records needs a value"));
  EXPECT_THAT(mistake({"--records", "x"}), HasSubstr("'x'"));
  EXPECT_THAT(mistake({"--port", "65536"}), HasSubstr("--port"));
  EXPECT_THAT(mistake({"--tls", "C"}), HasSubstr("--tls CERT KEY"));
  EXPECT_THAT(mistake({"--tls-max", "1.1"}), HasSubstr("need --tls"));
}

}  // namespace
}  // namespace caiexport::simulator
