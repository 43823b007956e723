/// sync, its guards and the link to the newest batch, through the real programs.

#include <csignal>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr const char* kSmall = R"({"batches": 2, "files": 2, "records": 200})";

class SyncProgram : public BinaryTest {
 protected:
  static std::vector<std::string> command(std::vector<std::string> more = {}) {
    std::vector<std::string> words{"sync", "--id", kScoreDataset};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  Poco::JSON::Object::Ptr json(std::vector<std::string> more = {}, int code = 0) {
    more.insert(more.end(), {"--format", "json"});
    const Ended ended = run(command(std::move(more)));
    EXPECT_EQ(ended.code, code) << ended.err;
    return parseObject(ended.out);
  }

  fs::path folder() const { return folder_ / "out" / kScoreDataset; }
  fs::path aside() const { return folder().parent_path() / ".replaced" / kScoreDataset; }
  std::string latest() const { return fs::read_symlink(folder() / "latest").string(); }

  static std::vector<std::string> idsOf(const Poco::JSON::Object::Ptr& document) {
    std::vector<std::string> ids;
    const auto jobs = document->getArray("jobs");
    for (std::size_t i = 0; i < jobs->size(); ++i) {
      ids.push_back(jobs->getObject(static_cast<unsigned>(i))->getArray("batch_ids")->getElement<std::string>(0));
    }
    return ids;
  }

  static Poco::JSON::Object::Ptr replaced(const Poco::JSON::Object::Ptr& document) {
    return document->getArray("replaced")->getObject(0);
  }

  std::uint64_t rowsOf(const std::string& what) {
    const Ended read =
        run({"read", what, "--all-batches", "--sql", "SELECT count(*) AS n FROM profiles", "--format", "csv"});
    EXPECT_EQ(read.code, 0) << read.err;
    return read.code == 0 ? std::stoull(read.out.substr(read.out.find('\n') + 1)) : 0;
  }
};

TEST_F(SyncProgram, FetchesAllThenSaysThatNothingIsNew) {
  startWith(kSmall);
  const auto first = json();
  const auto ids = idsOf(first);
  ASSERT_THAT(ids, SizeIs(2));
  EXPECT_LT(ids[0], ids[1]) << "oldest first";
  EXPECT_EQ(first->getObject("mark")->getValue<std::string>("batch_id"), ids[1]);
  EXPECT_EQ(first->getValue<std::string>("latest"), ids[1]);
  EXPECT_TRUE(first->isNull("error"));
  EXPECT_EQ(latest(), ids[1]);

  const Ended second = run(command());
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_THAT(second.out, HasSubstr("nothing new; the newest batch, " + ids[1]));
  EXPECT_EQ(run(command({"--quiet"})).err, "");
  // The link is not counted as a further batch, and can be read itself.
  EXPECT_EQ(rowsOf(folder().string()), 400U);
  EXPECT_EQ(rowsOf((folder() / "latest").string()), 200U);
  EXPECT_THAT(run({"verify", folder().string()}).out, HasSubstr("all 4 files are as recorded"));
}

TEST_F(SyncProgram, AFolderBesideTheOthersWithoutAManifestIsADifference) {
  startWith(kSmall);
  const auto ids = idsOf(json());
  fs::create_directory(folder() / "notes");
  std::ofstream(folder() / "notes" / "mine.txt") << "not yours";
  EXPECT_EQ(run({"verify", folder().string()}).code, 0);
  fs::remove(folder() / ids[0] / "_manifest.json");
  const Ended kept = run({"verify", folder().string()});
  EXPECT_EQ(kept.code, 8) << kept.out;
  EXPECT_THAT(kept.out, HasSubstr("missing  " + (folder() / ids[0] / "_manifest.json").string()));
  fs::remove_all(folder() / ids[0]);
  fs::create_directory(folder() / ids[0]);
  EXPECT_EQ(run({"verify", folder().string()}).code, 8) << "emptied";
}

TEST_F(SyncProgram, ASupersededBatchIsMovedAsideAndEveryCommandKnows) {
  startWith(kSmall);
  const auto ids = idsOf(json());
  post("/_simulator/batches", R"({"replay": true})");
  const auto second = json();
  ASSERT_EQ(second->getArray("replaced")->size(), 1U);
  const auto one = replaced(second);
  const std::string heir = idsOf(second).at(0);
  const fs::path place = aside() / ids[1];
  EXPECT_EQ(one->getValue<std::string>("batch_id"), ids[1]);
  EXPECT_EQ(one->getValue<std::string>("by"), heir);
  EXPECT_EQ(one->getValue<std::string>("action"), "aside");
  EXPECT_EQ(one->getValue<std::string>("path"), place.string());
  EXPECT_TRUE(fs::exists(place / "_manifest.json"));
  EXPECT_EQ(latest(), heir);

  EXPECT_THAT(run({"show", "2"}).out, HasSubstr(ids[1] + " (replaced by " + heir));
  const auto shown = parseObject(run({"show", "2", "--format", "json"}).out);
  EXPECT_EQ(replaced(shown)->getValue<std::string>("by"), heir);
  EXPECT_THAT(shown->getArray("file_list")->getObject(0)->getValue<std::string>("path"), HasSubstr(".replaced"));
  for (const std::string& what : {std::string("2"), place.string()}) {
    const Ended verified = run({"verify", what});
    EXPECT_EQ(verified.code, 0) << verified.err;
    EXPECT_THAT(verified.out, HasSubstr("replaced by " + heir)) << what;
  }
  // Read only where it is named.
  EXPECT_EQ(rowsOf(folder().string()), 400U);
  EXPECT_EQ(rowsOf(place.string()), 200U);
  const Ended byJob = run({"read", "2"});
  EXPECT_EQ(byJob.code, 4);
  EXPECT_THAT(byJob.err, HasSubstr("replaced by " + heir));
}

TEST_F(SyncProgram, APrivacyDeletionIsLoudAndDeletes) {
  startWith(kSmall);
  const auto ids = idsOf(json());
  post("/_simulator/batches", R"({"replay": true, "reason": "GDPR request 12"})");
  const Ended second = run(command({"--quiet"}));
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("PRIVACY DELETION"));
  EXPECT_THAT(second.err, HasSubstr("GDPR request 12"));
  EXPECT_FALSE(fs::exists(folder() / ids[1]));
  EXPECT_FALSE(fs::exists(aside()));
  EXPECT_THAT(run({"show", "2"}).out, HasSubstr("deleted"));
  const Ended verified = run({"verify", "2"});
  EXPECT_EQ(verified.code, 0) << verified.err;
  EXPECT_THAT(verified.out, HasSubstr("replaced by"));
  EXPECT_EQ(run({"scores", "2"}).code, 4);
}

TEST_F(SyncProgram, APrivacyDeletionSaysWhereItDeletedAndOnlyWhenItDid) {
  startWith(R"({"batches": 1, "files": 2, "records": 200})");
  ASSERT_EQ(run(command({"--output", path("copy")})).code, 0);
  const auto ids = idsOf(json());
  // Of Data Access, so that the batch that comes instead can't be fetched.
  changeScenario(R"({"faults": [{"match": {"path": "export/batches"}, "times": -1, "do": {"status": 404}}]})");
  post("/_simulator/batches", R"({"replay": true, "reason": "GDPR request 12"})");
  const fs::path old = folder() / ids[0];
  fs::rename(old, folder_ / "victim");
  fs::create_directory_symlink(folder_ / "victim", old);
  const Ended refused = run(command({"--quiet"}));
  EXPECT_EQ(refused.code, 9) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("NOT deleted yet"));
  EXPECT_THAT(refused.err, Not(HasSubstr("are deleted")));
  fs::remove(old);
  fs::rename(folder_ / "victim", old);
  const Ended done = run(command({"--quiet"}));
  EXPECT_NE(done.code, 0) << "the batch that comes instead is not here";
  EXPECT_THAT(done.err, HasSubstr("the files of " + ids[0] + " are deleted: 2 files in " + old.string() +
                                  ", 2 files in " + path("copy") + "/" + kScoreDataset + "/" + ids[0]));
  EXPECT_THAT(filesUnder("out"), IsEmpty());
  EXPECT_THAT(filesUnder("copy"), IsEmpty());
}

TEST_F(SyncProgram, BatchesThatReplaceOneAnotherCrashNothing) {
  startWith(R"({"world": "plain", "batches": 2, "files": 1, "records": 200, "failed_batches": 0})");
  const auto batches = platformState()->getArray("batches");
  std::vector<std::string> ids;
  for (unsigned at = 0; at < batches->size(); ++at) {
    ids.push_back(batches->getObject(at)->getValue<std::string>("id"));
  }
  ASSERT_THAT(ids, SizeIs(2));
  post("/_simulator/batch", R"({"id": ")" + ids[0] + R"(", "predecessors": [")" + ids[1] + R"("]})");
  post("/_simulator/batch", R"({"id": ")" + ids[1] + R"(", "predecessors": [")" + ids[0] + R"("]})");
  EXPECT_EQ(run({"dataset", "--id", kScoreDataset, "--all", "--output", path("once")}).code, 0);
  EXPECT_THAT(idsOf(json()), SizeIs(1));
  EXPECT_THAT(idsOf(json()), IsEmpty());
}

TEST_F(SyncProgram, AKeptPrivacyDeletionIsLoudToo) {
  startWith(kSmall);
  const auto ids = idsOf(json());
  post("/_simulator/batches", R"({"replay": true, "reason": "GDPR request 12"})");
  const Ended second = run(command({"--replayed", "aside"}));
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("NOT deleted"));
  EXPECT_TRUE(fs::exists(aside() / ids[1]));
}

TEST_F(SyncProgram, AFolderWithoutADatabaseKnowsWhatIsReplaced) {
  startWith(kSmall);
  ASSERT_EQ(run(command()).code, 0);
  post("/_simulator/batches", R"({"replay": true})");
  ASSERT_EQ(run(command({"--replayed", "keep"})).code, 0);
  environment["CAIEXPORT_DATABASE"] = path("other.db");
  EXPECT_EQ(rowsOf(folder().string()), 400U) << "three batches, one of them replaced";
  EXPECT_THAT(run({"verify", folder().string()}).out, HasSubstr("replaced by"));
}

TEST_F(SyncProgram, ASecondOneAtTheSameTimeIsRefusedAndAKilledOneIsGoneOnWith) {
  startWith(R"({"batches": 2, "files": 3, "file_bytes": 50000, "faults": [
      {"match": {"path": "path="}, "times": -1, "do": {"stall_body": 100}}]})");
  const auto first = start(command({"--verify", "size"}));
  ASSERT_TRUE(support::eventually([&] { return counted("faults_fired") > 0; }));
  const Ended second = run(command({"--verify", "size"}));
  EXPECT_EQ(second.code, 10);
  EXPECT_THAT(second.err, HasSubstr("process " + std::to_string(first->id())));
  first->signal(SIGKILL);
  first->wait();
  changeScenario(R"({"faults": []})");
  const auto third = json({"--verify", "size"});
  EXPECT_EQ(third->getArray("jobs")->size(), 2U);
  EXPECT_EQ(third->getArray("jobs")->getObject(0)->getValue<int>("job"), 1) << "the interrupted job goes on";
  EXPECT_THAT(filesUnder("out"), SizeIs(10)) << "two batches of three files, a manifest and the mark";
}

TEST_F(SyncProgram, AnotherFolderIsAnotherPlace) {
  startWith(kSmall);
  ASSERT_EQ(run(command()).code, 0);
  environment["CAIEXPORT_OUTPUT"] = path("second");
  EXPECT_THAT(idsOf(json()), SizeIs(2));
}

TEST_F(SyncProgram, DryRunTellsThePlanAndMakesNothing) {
  startWith(kSmall);
  const auto before = json({"--dry-run"});
  EXPECT_EQ(before->getArray("batches")->size(), 2U);
  EXPECT_EQ(before->getValue<int>("files"), 4);
  EXPECT_EQ(before->getValue<int>("records"), 400);
  EXPECT_GT(before->getValue<int>("requests"), 4);
  EXPECT_TRUE(before->isNull("seconds"));
  EXPECT_FALSE(fs::exists(path("jobs.db")));
  EXPECT_THAT(filesUnder("out"), IsEmpty());
  ASSERT_EQ(run(command()).code, 0);
  post("/_simulator/batches", R"({"replay": true})");
  const auto after = json({"--dry-run"});
  EXPECT_EQ(after->getArray("batches")->size(), 1U);
  EXPECT_EQ(replaced(after)->getValue<std::string>("action"), "aside");
  EXPECT_FALSE(after->isNull("seconds"));
  const Ended text = run(command({"--dry-run"}));
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("at the last measured rate"));
  EXPECT_THAT(text.out, HasSubstr("nothing was made"));
  EXPECT_FALSE(fs::exists(aside()));
}

TEST_F(SyncProgram, WrongUsageAndWrongDatasetsAreTold) {
  startWith(kSmall);
  EXPECT_EQ(run({"sync"}).code, 2);
  EXPECT_EQ(run(command({"--replayed", "burn"})).code, 2);
  EXPECT_EQ(run(command({"--max-change", "some"})).code, 2);
  EXPECT_EQ(run({"sync", "--id", "5f0000000000000000009999"}).code, 4);
}

// --- guards and the link, on the commands that run one job

TEST_F(SyncProgram, GuardsKeepTheDataAndTheLink) {
  startWith(kSmall);
  const std::vector<std::string> dataset{"dataset", "--id", kScoreDataset};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> words = dataset;
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  };
  const Ended first = with({"--max-change", "30%"});
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.err, HasSubstr("no earlier success"));
  const std::string old = latest();

  post("/_simulator/batches", R"({"records": 100})");
  const Ended changed = with({"--max-change", "30%"});
  EXPECT_EQ(changed.code, 8);
  EXPECT_THAT(changed.err, HasSubstr("holds 100 records; the last success (job 1"));
  EXPECT_THAT(changed.err, HasSubstr("-50.0 %, expected at most 30%"));
  const Ended few = with({"--min-records", "150"});
  EXPECT_EQ(few.code, 8);
  EXPECT_THAT(few.err, HasSubstr("expected at least 150"));
  EXPECT_EQ(latest(), old);
  EXPECT_EQ(rowsOf(folder().string()), 200U) << "a batch that was not accepted is no part of the folder";
  EXPECT_EQ(rowsOf("2"), 100U) << "but it is kept";

  const std::uint64_t served = counted("file_bytes_served");
  EXPECT_EQ(with({"--max-change", "50"}).code, 0);
  EXPECT_EQ(counted("file_bytes_served"), served);
  EXPECT_NE(latest(), old);
}

TEST_F(SyncProgram, AnOldBatchIsNotDownloadedUnderMaxAge) {
  startWith(kSmall);
  const Ended old = run({"dataset", "--id", kScoreDataset, "--max-age", "1s"});
  EXPECT_EQ(old.code, 12);
  EXPECT_THAT(old.err, HasSubstr("expected at most 1.0 s (--max-age)"));
  EXPECT_THAT(filesUnder("out"), IsEmpty());
  EXPECT_EQ(run({"dataset", "--id", kScoreDataset, "--max-age", "365d"}).code, 0);
}

TEST_F(SyncProgram, TheLinkNeverGoesToAnOlderBatch) {
  startWith(kSmall);
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const std::string newest = latest();
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset, "--all"}).code, 0);
  EXPECT_EQ(latest(), newest);
  fs::remove(folder() / "latest");
  fs::create_directory(folder() / "latest");
  const Ended blocked = run({"dataset", "--id", kScoreDataset});
  EXPECT_EQ(blocked.code, 0) << "what stands in the link's place is no failure";
  EXPECT_THAT(blocked.err, HasSubstr("is not a link"));
}

}  // namespace
}  // namespace caiexport::binary
