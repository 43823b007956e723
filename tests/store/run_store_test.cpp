/// Runs of `sync` on record, and which of them are forgotten.

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
    SQLite::Statement rows(database().connection(), "SELECT id FROM run ORDER BY id");
    std::vector<std::int64_t> ids;
    while (rows.executeStep()) ids.push_back(rows.getColumn(0).getInt64());
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

}  // namespace
}  // namespace caiexport::store
