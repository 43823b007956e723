/// What the shells' completion is told.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <sstream>

#include "caiexport/core/file_system.h"
#include "caiexport/model/job.h"
#include "caiexport/store/database.h"
#include "caiexport/store/job_store.h"
#include "cli/commands/commands.h"
#include "cli/config/settings.h"
#include "support/fake_clock.h"
#include "support/temp_directory.h"

namespace caiexport::cli {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::UnorderedElementsAre;

constexpr const char* kDataset = "5fd1a9dea30603194baeea43";
constexpr const char* kSegment = "4afe34ae-8c98-4513-8a1d-67ccaa54bc05";
constexpr const char* kOtherSegment = "7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a";

class Completion : public testing::Test {
 protected:
  std::string text(const std::vector<std::string>& words) const { return completions(words, environment_); }

  /// The words offered, without what is said of them.
  std::vector<std::string> offered(const std::vector<std::string>& words) const {
    std::vector<std::string> out;
    std::istringstream lines(text(words));
    for (std::string line; std::getline(lines, line);) out.push_back(line.substr(0, line.find('\t')));
    return out;
  }

  void record(model::Kind kind, const std::string& source) {
    store::Database database(database_, store::Database::Mode::readWrite);
    model::ExportRequest request;
    request.kind = kind;
    request.sourceId = source;
    request.orgId = "A@AdobeOrg";
    request.sandbox = "prod";
    request.baseUrl = "https://platform.example";
    request.output = "/data/out";
    store::JobStore(database, clock_).createJob(request, "uuid " + std::to_string(++jobs_), model::makePlan(request));
  }

  support::TempDirectory folder_;
  std::filesystem::path database_ = folder_ / "jobs.db";
  std::map<std::string, std::string, std::less<>> variables_{{"CAIEXPORT_DATABASE", database_.string()},
                                                             {"HOME", folder_.path().string()}};
  Environment environment_{[this](std::string_view name) -> std::optional<std::string> {
    const auto found = variables_.find(name);
    return found == variables_.end() ? std::nullopt : std::optional(found->second);
  }};
  support::FakeClock clock_;
  int jobs_ = 0;
};

TEST_F(Completion, KnowsEveryCommandAndOption) {
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    const CommandPage& page = command.page();
    names.emplace_back(page.name);
    std::set<std::string> expected;
    for (const OptionGroup& group : page.groups) {
      for (const Option& option : group.options) expected.insert("--" + std::string(option.name));
    }
    EXPECT_THAT(offered({std::string(page.name), "--"}), testing::UnorderedElementsAreArray(expected)) << page.name;
  }
  EXPECT_EQ(offered({""}), names);
  EXPECT_EQ(offered({"help", ""}), names);
  EXPECT_THAT(offered({"sco"}), ElementsAre("scores"));
  EXPECT_THAT(offered({"--sandbox", "dev", "sco"}), ElementsAre("scores"));
}

TEST_F(Completion, TellsWhatAnOptionIsWithoutItsDefaultAndDoesNotOfferItTwice) {
  EXPECT_EQ(text({"history", "--li"}), "--limit\tat most N jobs, 0 for all\n");
  EXPECT_THAT(offered({"history", "--limit", "3", "--li"}), IsEmpty());
}

TEST_F(Completion, TakesValuesFromThePlaceholder) {
  EXPECT_THAT(offered({"dataset", "--verify", ""}), ElementsAre("size", "footer", "full"));
  EXPECT_THAT(offered({"dataset", "--verify=fo"}), ElementsAre("--verify=footer"));
  EXPECT_THAT(offered({"--config", ""}), ElementsAre("<FILE>"));
  EXPECT_THAT(offered({"dataset", "--output="}), ElementsAre("<DIR>"));
  EXPECT_THAT(offered({"dataset", "--limit", ""}), IsEmpty());
}

TEST_F(Completion, KnowsTheWordsOfStates) {
  EXPECT_THAT(offered({"history", "--status", "fa"}), ElementsAre("failed"));
  EXPECT_THAT(offered({"history", "--status", "failed,"}), Contains("failed,blocked"));
  EXPECT_THAT(offered({"history", "--status", "failed,"}), Not(Contains("failed,failed")));
  EXPECT_THAT(offered({"segment", "--status", ""}), ElementsAre("realized", "exited"));
}

TEST_F(Completion, KnowsProfilesOfTheConfigFile) {
  core::writeFileAtomically(core::diskFileSystem(), folder_ / "c.ini",
                            "[default]\nsandbox = a\n[stage]\nsandbox = b\n");
  EXPECT_THAT(offered({"--config", (folder_ / "c.ini").string(), "--profile", ""}), ElementsAre("default", "stage"));
  EXPECT_THAT(offered({"--config", (folder_ / "none.ini").string(), "--profile", ""}), IsEmpty());
}

TEST_F(Completion, KnowsJobsAndIdsOfTheRecord) {
  record(model::Kind::dataset, kDataset);
  record(model::Kind::segment, std::string(kSegment) + "," + kOtherSegment);
  EXPECT_THAT(offered({"show", ""}), ElementsAre("2", "1"));
  EXPECT_THAT(text({"show", "1"}), testing::StartsWith("1\tdataset " + std::string(kDataset) + ", "));
  EXPECT_THAT(offered({"dataset", "--id", ""}), ElementsAre(kDataset));
  EXPECT_THAT(offered({"sync", "--id=5f"}), ElementsAre(std::string("--id=") + kDataset));
  EXPECT_THAT(offered({"segment", "--id", "4"}), ElementsAre(kSegment));
  EXPECT_THAT(offered({"segment", "--id", std::string(kSegment) + ","}),
              ElementsAre(std::string(kSegment) + "," + kOtherSegment));
  EXPECT_THAT(offered({"segment", "--dataset", ""}), ElementsAre(kDataset));
  EXPECT_THAT(offered({"history", "--id", ""}), UnorderedElementsAre(kDataset, kSegment, kOtherSegment));
  EXPECT_EQ(text({"show", ""}).find('\r'), std::string::npos);
}

TEST_F(Completion, TakesTheDatabaseThatTheLineNames) {
  record(model::Kind::dataset, kDataset);
  variables_.erase("CAIEXPORT_DATABASE");
  EXPECT_THAT(offered({"show", ""}), IsEmpty());
  EXPECT_THAT(offered({"--database", database_.string(), "show", ""}), ElementsAre("1"));
  EXPECT_THAT(offered({"show", "--database=" + database_.string(), ""}), ElementsAre("1"));
}

TEST_F(Completion, FollowsTheUsageLine) {
  record(model::Kind::dataset, kDataset);
  EXPECT_THAT(offered({"read", ""}), UnorderedElementsAre("1", "<FILE>"));
  EXPECT_THAT(offered({"read", "a.parquet", ""}), ElementsAre("<FILE>"));
  EXPECT_THAT(offered({"verify", ""}), UnorderedElementsAre("1", "<DIR>"));
  EXPECT_THAT(offered({"history", ""}), UnorderedElementsAre("diff", "prune"));
  EXPECT_THAT(offered({"history", "diff", ""}), ElementsAre("1"));
  EXPECT_THAT(offered({"history", "diff", "1", ""}), ElementsAre("1"));
  EXPECT_THAT(offered({"history", "diff", "1", "2", ""}), Contains("--field"));
  EXPECT_THAT(offered({"show", "1", ""}), Contains("--format"));
  EXPECT_THAT(offered({"dataset", ""}), IsSupersetOf({"--id", "--verify"}));
  EXPECT_THAT(offered({"show", "--", ""}), ElementsAre("1"));
}

TEST_F(Completion, OffersNothingThatAShellOrATerminalWouldTakeForMoreThanAWord) {
  for (const char* id : {"$(reboot)", "a b", "a\x1b[2J", "a;b", "`x`", "a\nb", "ümlaut"}) {
    record(model::Kind::dataset, id);
  }
  record(model::Kind::dataset, kDataset);
  EXPECT_THAT(offered({"dataset", "--id", ""}), ElementsAre(kDataset));
  const std::string jobs = text({"show", ""});
  EXPECT_EQ(std::ranges::count(jobs, '\n'), 8);
  EXPECT_EQ(jobs.find('\x1b'), std::string::npos);
}

TEST_F(Completion, FailsInSilenceAndMakesNothing) {
  EXPECT_EQ(text({"show", ""}), "");
  EXPECT_EQ(text({"nonsense", ""}), "");
  EXPECT_EQ(text({"dataset", "--nonsense="}), "");
  EXPECT_EQ(text({}), "");
  EXPECT_EQ(text({"history", "--id", ""}), "");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  // Files fit even where the record can't be read.
  core::writeFileAtomically(core::diskFileSystem(), database_, "no database");
  EXPECT_THAT(offered({"read", ""}), ElementsAre("<FILE>"));
}

}  // namespace
}  // namespace caiexport::cli
