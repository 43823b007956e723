/// Deliveries: what lies at a target in which order, whatever dies in between, and how it goes again.

#include "caiexport/engine/delivery.h"

#include <gmock/gmock.h>

#include <fstream>

#include "caiexport/engine/sync.h"
#include "caiexport/store/history.h"
#include "engine/journey.h"

namespace caiexport::engine {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kFileBytes = 3000;
constexpr const char* kTarget = "rclone:lake:bucket/scores";

std::string textOf(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

/// What outlives every process: the objects, and how often each was sent.
struct Bucket {
  std::map<std::string, std::string> objects;
  std::map<std::string, int> sent;
  bool hashes = true;
  std::function<void(const std::string& call)> onCall = {};
  std::string damaged = {};  ///< Arrives as something else.
};

class FakeStore final : public objects::ObjectStore {
 public:
  FakeStore(Bucket& bucket, CrashPoint& crash) : bucket_(bucket), crash_(crash) {}

  objects::Facts facts(const std::stop_token&) override { return {.program = "fake", .hashes = bucket_.hashes}; }

  void putFiles(const fs::path& from, std::span<const std::string> names, const std::string& folder, const Sent& sent,
                const std::stop_token&) override {
    for (const std::string& name : names) {
      put(folder + "/" + name,
          !bucket_.damaged.empty() && name.starts_with(bucket_.damaged) ? "damaged" : textOf(from / name));
      sent(name);
    }
  }
  void putText(const std::string& key, std::string_view text, const std::stop_token&) override {
    put(key, std::string(text));
  }
  Comparison compare(const fs::path& here, std::span<const std::string> names, const std::string& folder,
                     const std::stop_token&) override {
    call("compare " + folder);
    Comparison found{.byHash = bucket_.hashes};
    for (const std::string& name : names) {
      const auto there = bucket_.objects.find(folder + "/" + name);
      if (there != bucket_.objects.end() && there->second == textOf(here / name)) found.same.insert(name);
    }
    return found;
  }
  std::vector<objects::Object> list(const std::string& folder, const std::stop_token&) override {
    call("list " + folder);
    std::vector<objects::Object> all;
    for (const auto& [key, text] : bucket_.objects) {
      if (key.starts_with(folder + "/")) all.push_back({.name = key.substr(folder.size() + 1), .bytes = text.size()});
    }
    return all;
  }
  std::optional<std::string> text(const std::string& key, const std::stop_token&) override {
    call("text " + key);
    const auto found = bucket_.objects.find(key);
    return found == bucket_.objects.end() ? std::nullopt : std::optional(found->second);
  }
  void remove(const std::string& folder, std::span<const std::string> names, const std::stop_token&) override {
    for (const std::string& name : names) {
      const std::string key = folder.empty() ? name : folder + "/" + name;
      call("remove " + key);
      bucket_.objects.erase(key);
      crash_.pass();
    }
  }

 private:
  void put(const std::string& key, std::string text) {
    call("put " + key);
    ++bucket_.sent[key];
    bucket_.objects[key] = std::move(text);
    crash_.pass();
  }
  void call(const std::string& what) {
    crash_.pass();
    if (bucket_.onCall) bucket_.onCall(what);
  }

  Bucket& bucket_;
  CrashPoint& crash_;
};

class Deliveries : public testing::Test {
 protected:
  struct Process : Journey::Process {
    Process(Journey& journey, Bucket& bucket, std::size_t crashAt = 0)
        : Journey::Process(journey, crashAt),
          records(database, journey.clock, [this](std::string_view, bool) { crash.pass(); }),
          syncRecords(database, journey.clock, [this](std::string_view, bool) { crash.pass(); }),
          delivery{.records = records,
                   .clock = journey.clock,
                   .random = journey.random,
                   .open = [&bucket, this](const std::string&) { return std::make_unique<FakeStore>(bucket, crash); },
                   .tell = [this](std::string_view text) { observer.notice(text); }} {
      tools.delivery = &delivery;
    }
    Outcome run(const model::ExportRequest& request) {
      Runner own(tools);
      const std::optional<model::JobId> last = store.newestJob();
      const bool goesOn = last && model::currentStep(store.load(*last).steps);
      return own.advance(goesOn ? *last : own.create(request).id, {}, {});
    }
    SyncResult sync(const SyncRequest& request) {
      Runner own(tools);
      Sync run(tools, syncRecords, [&](model::JobId job) { return own.advance(job, {}, {}); },
               {.replaced = [this](const Replaced& done, bool) { withdrawn = done.withdrawn; },
                .notReplaced = [this](const model::Replacement&, bool, const Error&) { ++notReplaced; }});
      return run.run(request, {});
    }

    store::DeliveryStore records;
    store::SyncStore syncRecords;
    DeliveryTools delivery;
    std::vector<std::string> withdrawn;
    int notReplaced = 0;
  };

  void start(const std::string& scenario) {
    journey = std::make_unique<Journey>(scenario, kFileBytes);
    bucket = {};
  }
  model::ExportRequest request(bool deletes = false) const {
    model::ExportRequest made = journey->datasetRequest();
    made.deliver = kTarget;
    made.deleteAfterDelivery = deletes;
    return made;
  }
  SyncResult sync(bool deletes = false) { return Process(*journey, bucket).sync({.job = request(deletes)}); }
  Outcome run(bool deletes = false) { return Process(*journey, bucket).run(request(deletes)); }

  void post(const std::string& target, const std::string& json) {
    const simulator::Response answer = journey->world().handle(
        {.method = "POST", .target = target, .headers = {{"Host", "platform.test"}}, .body = json, .scheme = "https"});
    ASSERT_EQ(answer.status, 200) << answer.body;
  }

  /// Whatever has a mark there is whole, and is what was fetched. Returns how many are.
  int expectWholeWhereMarked() const {
    int marked = 0;
    for (const auto& [key, text] : bucket.objects) {
      if (!key.ends_with("/_SUCCESS")) continue;
      ++marked;
      const std::string folder = key.substr(0, key.size() - std::string("/_SUCCESS").size());
      const auto manifest = bucket.objects.find(folder + "/_manifest.json");
      if (manifest == bucket.objects.end()) {
        ADD_FAILURE() << key << " without a manifest";
        continue;
      }
      std::set<std::string> expected{"_SUCCESS", "_manifest.json"};
      for (const ManifestFile& file : parseManifest(manifest->second, "_manifest.json").files) {
        expected.insert(file.path);
        const auto there = bucket.objects.find(folder + "/" + file.path);
        if (there == bucket.objects.end() || there->second.size() != file.bytes) ADD_FAILURE() << "half: " << file.path;
      }
      // Nothing lies there twice, under whatever name.
      for (const auto& [other, content] : bucket.objects) {
        const bool foreign = other.starts_with(folder + "/") && !expected.contains(other.substr(folder.size() + 1));
        EXPECT_FALSE(foreign) << other;
      }
    }
    return marked;
  }

  std::string datasetThere() const { return std::string("dataset_id=") + kScoreDataset; }
  fs::path out() const { return journey->directory / "out"; }
  std::uint64_t served() const { return journey->world().statistics().fileBytesServed; }

  std::unique_ptr<Journey> journey;
  Bucket bucket;
};

TEST_F(Deliveries, DataThenManifestThenMarkThenLatest) {
  start(R"({"batches": 1, "files": 3})");
  std::vector<std::string> puts;
  bucket.onCall = [&](const std::string& call) {
    if (call.starts_with("put ")) puts.push_back(call.substr(call.rfind('/') + 1));
  };
  const Outcome outcome = run();
  ASSERT_FALSE(outcome.error) << outcome.error->what();
  ASSERT_THAT(puts, SizeIs(6));
  EXPECT_THAT(std::vector(puts.begin(), puts.begin() + 3), Each(HasSubstr(".parquet")));
  EXPECT_THAT(std::vector(puts.begin() + 3, puts.end()), ElementsAre("_manifest.json", "_SUCCESS", "_latest.json"));
  EXPECT_EQ(expectWholeWhereMarked(), 1);
  const std::string batch = outcome.job.batches.front().id.value();
  EXPECT_THAT(bucket.objects.at(datasetThere() + "/_latest.json"), HasSubstr(datasetThere() + "/batch_id=" + batch));
  EXPECT_TRUE(fs::exists(out() / kScoreDataset / batch)) << "kept here, in its own layout";

  // Once more there is nothing to send.
  bucket.sent.clear();
  ASSERT_FALSE(run().error);
  EXPECT_THAT(bucket.sent, SizeIs(2)) << "the manifest, which names its job, and behind it the mark";
}

// Cut into parts, so that ctest runs them side by side.
constexpr std::size_t kParts = 4;

class DeliveryCrash : public Deliveries, public testing::WithParamInterface<std::tuple<bool, std::size_t>> {};

TEST_P(DeliveryCrash, NothingHalfIsMarkedAndTheNextRunEndsIt) {
  const auto [deletes, part] = GetParam();
  start(R"({"batches": 1, "files": 2})");
  std::size_t calls = 0;
  {
    Process process(*journey, bucket);
    ASSERT_FALSE(process.run(request(deletes)).error);
    calls = process.crash.passed();
  }
  const auto expected = bucket.objects;
  std::size_t crashes = 0;
  for (std::size_t at = 1 + part; at <= calls; at += kParts) {
    start(R"({"batches": 1, "files": 2})");
    try {
      Process(*journey, bucket, at).run(request(deletes));
    } catch (const support::SimulatedCrash&) {
      ++crashes;
    }
    expectWholeWhereMarked();
    const std::uint64_t bytes = served();
    bool done = false;
    {
      Process process(*journey, bucket);
      const std::optional<model::JobId> job = process.store.newestJob();
      done = job && !model::currentStep(process.store.load(*job).steps);
    }
    if (!done) {
      const Outcome outcome = run(deletes);
      ASSERT_FALSE(outcome.error) << "crash at " << at << ": " << outcome.error->what();
    }
    EXPECT_EQ(bucket.objects, expected) << "crash at " << at;
    EXPECT_EQ(expectWholeWhereMarked(), 1) << "crash at " << at;
    EXPECT_EQ(wholeFilesIn(out()), deletes ? 0U : 2U) << "crash at " << at;
    EXPECT_TRUE(!done || served() == bytes);
    // What was recorded as arrived is not sent again.
    for (const auto& [key, times] : bucket.sent) EXPECT_LE(times, 2) << key << ", crash at " << at;
    if (HasFailure()) return;
  }
  EXPECT_GT(crashes, calls / kParts / 2);
}

INSTANTIATE_TEST_SUITE_P(KeptAndDeleted, DeliveryCrash,
                         testing::Combine(testing::Bool(), testing::Range<std::size_t>(0, kParts)));

TEST_F(Deliveries, AResumedOneSendsOnlyWhatIsMissing) {
  start(R"({"batches": 1, "files": 4})");
  int puts = 0;
  bucket.onCall = [&](const std::string& call) {
    if (call.find(".parquet") != call.npos && call.starts_with("put ") && ++puts == 3) {
      throw Error(Category::permission, "refused in mid-way");
    }
  };
  const Outcome failed = run();
  ASSERT_TRUE(failed.error);
  EXPECT_EQ(failed.error->category(), Category::permission);
  EXPECT_EQ(expectWholeWhereMarked(), 0);
  bucket.onCall = {};
  Process process(*journey, bucket);
  ASSERT_FALSE(Runner(process.tools).advance(failed.job.id, {}, {}).error);
  for (const auto& [key, times] : bucket.sent) EXPECT_EQ(times, 1) << key;
  EXPECT_EQ(expectWholeWhereMarked(), 1);
}

TEST_F(Deliveries, WhatMayPassIsTriedAgainAndThenTheJobGoesOnLater) {
  start(R"({"batches": 1, "files": 2})");
  int refused = 0;
  bucket.onCall = [&](const std::string& call) {
    if (call.starts_with("put ") && ++refused <= 2) throw Error(Category::unavailable, "no network");
  };
  ASSERT_FALSE(run().error);
  EXPECT_EQ(refused > 2, true);
  start(R"({"batches": 1, "files": 2})");
  bucket.onCall = [&](const std::string&) { throw Error(Category::unavailable, "no network"); };
  const Outcome outcome = run();
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::unavailable);
  bucket.onCall = {};
  const std::uint64_t bytes = served();
  ASSERT_FALSE(sync().error);
  EXPECT_EQ(served(), bytes);
  EXPECT_EQ(expectWholeWhereMarked(), 1);
}

TEST_F(Deliveries, WhatArrivesAsSomethingElseIsNeverMarked) {
  start(R"({"batches": 1, "files": 2})");
  bucket.damaged = "part-00001";
  const Outcome outcome = run();
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::verification);
  EXPECT_EQ(expectWholeWhereMarked(), 0);
}

TEST_F(Deliveries, WhatWasChangedHereDoesNotLeave) {
  start(R"({"batches": 1, "files": 1})");
  bucket.onCall = [&](const std::string& call) {
    if (!call.starts_with("list ")) return;
    for (const auto& entry : fs::recursive_directory_iterator(out())) {
      if (entry.path().extension() == ".parquet") std::ofstream(entry.path()) << std::string(kFileBytes, 'x');
    }
  };
  const Outcome outcome = run();
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->category(), Category::verification);
  EXPECT_THAT(bucket.objects, IsEmpty());
}

TEST_F(Deliveries, SyncDeliversWhatIsHereAlreadyAndWithdrawsWhatIsReplaced) {
  start(R"({"batches": 2, "files": 1})");
  ASSERT_FALSE(Process(*journey, bucket).sync({.job = journey->datasetRequest()}).error);
  EXPECT_THAT(bucket.objects, IsEmpty());
  const std::uint64_t bytes = served();
  const SyncResult caught = sync();
  ASSERT_FALSE(caught.error) << caught.error->what();
  EXPECT_EQ(served(), bytes) << "it was fetched again";
  EXPECT_EQ(expectWholeWhereMarked(), 2);
  EXPECT_THAT(sync().jobs, IsEmpty()) << "once is enough";

  post("/_simulator/batches", R"({"replay": true})");
  std::vector<std::string> removed;
  bucket.onCall = [&](const std::string& call) {
    if (call.starts_with("remove ")) removed.push_back(call.substr(call.rfind('/') + 1));
  };
  const SyncResult result = sync();
  ASSERT_FALSE(result.error) << result.error->what();
  ASSERT_THAT(result.replaced, SizeIs(1));
  EXPECT_EQ(expectWholeWhereMarked(), 2) << "the new one, and the one that it does not replace";
  ASSERT_THAT(removed, SizeIs(3));
  EXPECT_EQ(removed.front(), "_SUCCESS");
  EXPECT_EQ(removed.back(), "_manifest.json");
  for (const auto& [key, text] : bucket.objects) {
    EXPECT_THAT(key, testing::Not(HasSubstr(result.replaced[0].batch.value()))) << "left";
  }
}

TEST_F(Deliveries, PrivacyDeletionsReachTheTargetAndAreNotDoneBefore) {
  for (const bool deletes : {false, true}) {
    SCOPED_TRACE(deletes ? "nothing is here any more" : "it is here, too");
    start(R"({"batches": 1, "files": 2})");
    ASSERT_FALSE(sync(deletes).error);
    ASSERT_EQ(expectWholeWhereMarked(), 1);
    post("/_simulator/batches", R"({"replay": true, "reason": "GDPR 11"})");
    bool away = true;
    bucket.onCall = [&](const std::string& call) {
      if (away && (call.starts_with("remove ") || call.starts_with("list ")))
        throw Error(Category::unavailable, "no network");
    };
    Process process(*journey, bucket);
    // By a run that delivers nothing itself: what lies there is on record.
    const SyncResult refused = process.sync({.job = journey->datasetRequest()});
    ASSERT_TRUE(refused.error) << "it must not be said to be deleted";
    EXPECT_EQ(process.notReplaced, 1);
    away = false;
    const SyncResult result = process.sync({.job = journey->datasetRequest()});
    ASSERT_FALSE(result.error) << result.error->what();
    ASSERT_THAT(result.replaced, SizeIs(1));
    EXPECT_THAT(process.withdrawn, ElementsAre(kTarget));
    EXPECT_THAT(bucket.objects, IsEmpty());
    store::History history(process.database, {});
    bool told = false;
    history.forEachJob({}, [&](const store::JobView& view) {
      for (const store::Delivery& one : history.deliveriesOf(view.job)) {
        told = told || (one.state == store::DeliveryState::removed && one.target == kTarget);
      }
      return true;
    });
    EXPECT_TRUE(told) << "the record says so";
    EXPECT_THAT(process.sync({.job = journey->datasetRequest()}).replaced, IsEmpty());
  }
}

TEST_F(Deliveries, WhereverTheProcessDiesAWithdrawnBatchIsNeverHalfMarkedAndGoes) {
  const auto prepare = [&] {
    start(R"({"batches": 1, "files": 2})");
    ASSERT_FALSE(sync().error);
    post("/_simulator/batches", R"({"replay": true, "reason": "erasure"})");
  };
  prepare();
  std::size_t calls = 0;
  {
    Process process(*journey, bucket);
    ASSERT_FALSE(process.sync({.job = request()}).error);
    calls = process.crash.passed();
  }
  const std::size_t objects = bucket.objects.size();
  for (std::size_t at = 1; at <= calls; at += 5) {
    prepare();
    try {
      Process(*journey, bucket, at).sync({.job = request()});
    } catch (const support::SimulatedCrash&) {
      expectWholeWhereMarked();
    }
    const SyncResult result = sync();
    ASSERT_FALSE(result.error) << "crash at " << at << ": " << result.error->what();
    EXPECT_EQ(bucket.objects.size(), objects) << "crash at " << at;
    EXPECT_EQ(expectWholeWhereMarked(), 1) << "crash at " << at;
    if (HasFailure()) return;
  }
}

TEST_F(Deliveries, WhatWasDeletedAfterItsDeliveryIsNotFetchedAgain) {
  start(R"({"batches": 1, "files": 2})");
  ASSERT_FALSE(sync(true).error);
  EXPECT_EQ(wholeFilesIn(out()), 0U);
  EXPECT_THAT(contentOf(out()), IsEmpty());
  const std::uint64_t bytes = served();
  const SyncResult quiet = sync(true);
  ASSERT_FALSE(quiet.error);
  EXPECT_THAT(quiet.jobs, IsEmpty());
  EXPECT_THAT(quiet.movedAway, IsEmpty()) << "it is no news that it is not here";
  const Outcome again = run(true);
  ASSERT_FALSE(again.error) << again.error->what();
  EXPECT_EQ(served(), bytes);
  EXPECT_EQ(expectWholeWhereMarked(), 1);
  // Whoever wants it here gets it.
  ASSERT_FALSE(Process(*journey, bucket).run(journey->datasetRequest()).error);
  EXPECT_EQ(wholeFilesIn(out()), 2U);
}

TEST_F(Deliveries, AStoreWithoutHashesIsSaidToHaveNone) {
  start(R"({"batches": 1, "files": 2})");
  bucket.hashes = false;
  Process process(*journey, bucket);
  ASSERT_FALSE(process.run(request()).error);
  EXPECT_THAT(process.observer.notices, Contains(HasSubstr("only sizes were compared")));
  EXPECT_EQ(expectWholeWhereMarked(), 1);
}

TEST_F(Deliveries, ATargetInsideTheOutputFolderIsRefused) {
  class Local final : public objects::ObjectStore {
   public:
    explicit Local(fs::path folder) : folder_(std::move(folder)) {}
    objects::Facts facts(const std::stop_token&) override {
      return {.program = "fake", .folder = folder_, .hashes = true};
    }
    void putFiles(const fs::path&, std::span<const std::string>, const std::string&, const Sent&,
                  const std::stop_token&) override {}
    void putText(const std::string&, std::string_view text, const std::stop_token&) override { text_ = text; }
    Comparison compare(const fs::path&, std::span<const std::string>, const std::string&,
                       const std::stop_token&) override {
      return {};
    }
    std::vector<objects::Object> list(const std::string&, const std::stop_token&) override { return {}; }
    std::optional<std::string> text(const std::string&, const std::stop_token&) override { return text_; }
    void remove(const std::string&, std::span<const std::string>, const std::stop_token&) override {}

   private:
    fs::path folder_;
    std::string text_;
  };
  start(R"({"batches": 1, "files": 1})");
  Process process(*journey, bucket);
  for (const auto& [folder, fine] : {std::pair("/data/out", false),
                                     {"/data/out/lake", false},
                                     {"/data/lake", true},
                                     {"/data/out2", true},
                                     {"/data", true}}) {
    process.delivery.open = [&, folder = folder](const std::string&) { return std::make_unique<Local>(folder); };
    Delivery delivery(process.delivery, kTarget, {});
    try {
      delivery.requireReady("/data/out");
      EXPECT_TRUE(fine) << folder;
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), Category::usage);
      EXPECT_FALSE(fine) << folder;
    }
  }
}

}  // namespace
}  // namespace caiexport::engine
