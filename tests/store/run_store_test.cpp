/// Runs of `sync` on record, which of them are forgotten, and jobs that come to nothing.

#include "caiexport/store/sync_store.h"

#include "caiexport/store/prune_store.h"
#include "store/store_fixture.h"

namespace caiexport::store {
namespace {

class RunStoreTest : public StoreTest {
 protected:
  std::int64_t run(const std::string& dataset, const std::string& status) {
    RunStore runs(database(), clock_);
    const std::int64_t number = runs.begin(
        {.orgId = "org", .sandbox = "prod", .dataset = model::DatasetId(dataset), .output = "/data/out"}, "1", 1);
    clock_.advance(std::chrono::hours(1));
    if (!status.empty()) runs.end(number, {.status = status});
    return number;
  }

  std::vector<std::int64_t> kept() {
    Query rows(database(), "SELECT id FROM run ORDER BY id");
    std::vector<std::int64_t> ids;
    while (rows.next()) ids.push_back(rows.integer(0));
    return ids;
  }
};

TEST_F(RunStoreTest, PruningKeepsWhatStatusGoesByAndWhatIsNewer) {
  run("a", "succeeded");
  const std::int64_t lastSuccess = run("a", "succeeded");
  run("a", "failed");
  run("a", "");  // killed
  const std::int64_t lastRun = run("a", "failed");
  run("a", "skipped");
  const std::int64_t ofAnother = run("b", "succeeded");
  const core::TimePoint before = clock_.now();
  const std::int64_t newer = run("a", "skipped");
  PruneStore(database()).forgetRuns(before);
  EXPECT_THAT(kept(), testing::ElementsAre(lastSuccess, lastRun, ofAnother, newer));
}

TEST_F(RunStoreTest, AJobThatCameToNothingLeavesNoGapInTheNumbers) {
  const model::JobId first = newJob().id;
  const model::JobId second = newJob().id;
  PruneStore(database()).forget(second);
  EXPECT_FALSE(store().find(second));
  // Numbers of a server may have been given to other hosts meanwhile.
  if (support::isOnServer()) {
    EXPECT_GT(newJob().id, second);
    return;
  }
  EXPECT_EQ(newJob().id, second);
  // Not where it is followed by others: their numbers stay, and none is given twice.
  PruneStore(database()).forget(first);
  EXPECT_EQ(model::numberOf(newJob().id), model::numberOf(second) + 1);
}

}  // namespace
}  // namespace caiexport::store
