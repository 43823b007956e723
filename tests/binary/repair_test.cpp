/// `resume` of a job that is done: what was lost or changed since is fetched again, what was put away on purpose is
/// not.

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

class Repair : public BinaryTest {
 protected:
  fs::path dataset() const { return folder_ / "out" / kScoreDataset; }

  /// The Parquet files below the folder, sorted.
  std::vector<fs::path> parts() const {
    std::vector<fs::path> found;
    for (const std::string& file : filesUnder("out")) {
      if (file.ends_with(".parquet")) found.push_back(folder_ / "out" / file);
    }
    return found;
  }

  static std::string bytesOf(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  /// Same length, same time of writing, one other byte.
  static void spoil(const fs::path& file) {
    const auto written = fs::last_write_time(file);
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(100);
    stream.put(static_cast<char>(~bytesOf(file).at(100)));
    stream.close();
    fs::last_write_time(file, written);
  }
};

TEST_F(Repair, OfADoneJobFetchesWhatIsGoneShortOrChangedInOneGo) {
  startWith(R"({"files": 12, "records": 240})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const std::vector<fs::path> all = parts();
  ASSERT_EQ(all.size(), 12U);
  std::vector<std::string> before;
  for (const fs::path& file : all) before.push_back(bytesOf(file));
  const Ended nothing = run({"resume", "1"});
  EXPECT_EQ(nothing.code, 0);
  EXPECT_THAT(nothing.err, HasSubstr("is done already, and its files are as recorded"));

  for (std::size_t at : {0U, 3U, 7U}) fs::remove(all[at]);
  fs::resize_file(all[4], 5);
  spoil(all[5]);
  fs::remove(all[6]);
  fs::create_symlink("/etc/hostname", all[6]);
  EXPECT_EQ(run({"verify", "1"}).code, 8);
  const auto manifest = fs::last_write_time(all[1]);
  const Ended mended = run({"resume", "1"});
  EXPECT_EQ(mended.code, 0) << mended.err;
  EXPECT_THAT(mended.err, HasSubstr("6 files are downloaded again; the first:"));
  EXPECT_THAT(mended.err, HasSubstr("is gone"));
  for (std::size_t at = 0; at < all.size(); ++at) EXPECT_EQ(bytesOf(all[at]), before[at]) << all[at];
  EXPECT_FALSE(fs::is_symlink(all[6]));
  EXPECT_EQ(fs::last_write_time(all[1]), manifest) << "what was right is left alone";
  const Ended verified = run({"verify", "1"});
  EXPECT_EQ(verified.code, 0) << verified.out << verified.err;
}

TEST_F(Repair, AFolderAndAManifestThatAreGoneComeBackToo) {
  startWith(R"({"files": 2, "records": 40})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const std::string batch = fs::read_symlink(dataset() / "latest").string();
  fs::remove(dataset() / batch / "_manifest.json");
  const Ended manifest = run({"resume", "--last"});
  EXPECT_EQ(manifest.code, 0) << manifest.err;
  EXPECT_THAT(manifest.err, HasSubstr("manifest.json' is written again"));
  EXPECT_EQ(run({"verify", (dataset() / batch).string()}).code, 0);

  fs::remove_all(folder_ / "out");
  const Ended whole = run({"resume", "--last", "--format", "json"});
  EXPECT_EQ(whole.code, 0) << whole.err;
  EXPECT_EQ(parseObject(whole.out)->getValue<std::string>("status"), "succeeded");
  EXPECT_EQ(run({"verify", "1"}).code, 0);
  EXPECT_EQ(fs::read_symlink(dataset() / "latest").string(), batch);
}

TEST_F(Repair, WhatCanNoLongerBeHadIsSaidAndStaysOnRecord) {
  startWith(R"({"files": 2, "records": 40})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const std::vector<fs::path> all = parts();
  const std::string batch = fs::read_symlink(dataset() / "latest").string();
  fs::remove(all[0]);
  post("/_simulator/batch", R"({"id": ")" + batch + "\"}");
  for (int tries = 0; tries < 2; ++tries) {
    const Ended resumed = run({"resume", "1", "--format", "json"});
    EXPECT_EQ(resumed.code, 4) << resumed.err;
    EXPECT_THAT(resumed.err, HasSubstr(batch));
    EXPECT_THAT(resumed.err, HasSubstr("since it was chosen"));
    EXPECT_EQ(parseObject(resumed.out)->getValue<std::string>("status"), "failed");
  }
  EXPECT_TRUE(fs::exists(all[1])) << "what is left stays";
}

TEST_F(Repair, ADoneJobWhoseDatasetWasDeletedIsHonestAboutIt) {
  startWith(R"({"records": 400, "export_files": 2})");
  ASSERT_EQ(run({"segment", "--id", kSegment, "--poll-interval", "0.05s", "--delete-dataset"}).code, 0);
  fs::remove(parts().front());
  const Ended resumed = run({"resume", "1"});
  EXPECT_EQ(resumed.code, 4) << resumed.err;
  EXPECT_EQ(counted("datasets_created"), 1U);
  EXPECT_EQ(counted("export_jobs_accepted"), 1U);
}

TEST_F(Repair, WithoutANetworkTheJobIsUnfinishedAndGoesOnLater) {
  startWith(R"({"files": 2, "records": 40})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  fs::remove(parts().front());
  changeScenario(R"({"faults": [{"match": {"path": "/data/foundation/catalog/batches"},
                                 "times": -1, "do": {"close_without_answer": true}}]})");
  EXPECT_EQ(run({"resume", "1"}).code, 7);
  changeScenario(R"({"faults": []})");
  EXPECT_EQ(run({"resume", "--all"}).code, 0);
  EXPECT_EQ(run({"verify", "1"}).code, 0);
}

TEST_F(Repair, RowsThatWereAcceptedStayAccepted) {
  startWith(R"({"files": 2, "records": 40, "reported_records_delta": 3})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 8);
  ASSERT_EQ(run({"resume", "1", "--accept-rows"}).code, 0);
  const Ended verified = run({"verify", "1"});
  EXPECT_EQ(verified.code, 0) << verified.out << verified.err;
  fs::remove(parts().front());
  const Ended resumed = run({"resume", "1"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
}

TEST_F(Repair, WhatSyncPutAwayStaysAway) {
  for (const std::string reason : {"compaction of days", "GDPR request 12"}) {
    startWith(R"({"batches": 1, "files": 2, "records": 40})");
    ASSERT_EQ(run({"sync", "--id", kScoreDataset}).code, 0);
    const std::string old = fs::read_symlink(dataset() / "latest").string();
    post("/_simulator/batches", R"({"replay": true, "reason": ")" + reason + "\"}");
    const Ended second = run({"sync", "--id", kScoreDataset});
    ASSERT_EQ(second.code, 0) << second.err;
    ASSERT_FALSE(fs::exists(dataset() / old));
    const Ended resumed = run({"resume", "1"});
    EXPECT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_THAT(resumed.err, HasSubstr("batch " + old + " is not downloaded again"));
    // An empty folder is no reason to bring back what the law took away.
    if (reason.starts_with("GDPR")) {
      fs::create_directory(dataset() / old);
      EXPECT_THAT(run({"resume", "1"}).err, HasSubstr("is not downloaded again"));
      EXPECT_TRUE(fs::is_empty(dataset() / old));
    }
    simulator_.reset();
    fs::remove(folder_ / "port");
    fs::remove(folder_ / "jobs.db");
    fs::remove_all(folder_ / "out");
  }
}

TEST_F(Repair, WhatWasPrunedIsNotKnownAnyMore) {
  startWith(R"({"files": 2, "records": 40})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset, "--output", path("other")}).code, 0);
  const Ended pruned = run({"history", "prune", "--before", "0s", "--files"});
  ASSERT_EQ(pruned.code, 0) << pruned.err;
  EXPECT_THAT(parts(), IsEmpty());
  const Ended resumed = run({"resume", "1"});
  EXPECT_EQ(resumed.code, 4) << resumed.err;
  EXPECT_THAT(parts(), IsEmpty());
}

}  // namespace
}  // namespace caiexport::binary
