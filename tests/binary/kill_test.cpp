/// kill -9 at random moments, again and again, then `resume`: all of it is there, once, and nothing else.
///
/// CAIEXPORT_KILLS: how many kills each test makes (default 20). CAIEXPORT_SEED: of the moments; each run prints its
/// own.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <random>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;

constexpr int kFiles = 60;
constexpr std::uint64_t kFileBytes = 100'000;
constexpr unsigned kConnections = 4;
// What a run may have begun and not recorded: see Run::mayBegin in src/transfer.
constexpr std::uint64_t kMostBegun = 4ULL * kConnections;

std::uint64_t numberFrom(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

/// What the simulator has done so far.
struct Served {
  std::uint64_t bytes = 0;
  std::uint64_t requests = 0;
  std::uint64_t created = 0;  ///< Datasets and export jobs.
};

/// Asks the simulator over a connection of its own a time; quicker than a program for it.
class Watch {
 public:
  explicit Watch(const std::string& port) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address_.sin_port = htons(static_cast<std::uint16_t>(std::stoul(port)));
  }

  Served look() const {
    const auto state = parseObject(body());
    Served served{.bytes = state->getValue<std::uint64_t>("bytes_served"),
                  .requests = 0,
                  .created = state->getValue<std::uint64_t>("datasets_created") +
                             state->getValue<std::uint64_t>("export_jobs_accepted")};
    for (const auto& [route, count] : *state->getObject("requests")) {
      served.requests += count.convert<std::uint64_t>();
    }
    return served;
  }

 private:
  std::string body() const {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address_), sizeof(address_)) != 0) {
      ::close(socket);
      throw std::runtime_error("the simulator is gone");
    }
    const std::string request = "GET /_simulator/state HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    std::string answer;
    if (::send(socket, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
      char buffer[8192];
      for (ssize_t got = 0; (got = ::recv(socket, buffer, sizeof(buffer), 0)) > 0;) {
        answer.append(buffer, static_cast<std::size_t>(got));
      }
    }
    ::close(socket);
    const std::size_t head = answer.find("\r\n\r\n");
    if (head == std::string::npos) throw std::runtime_error("the simulator did not answer");
    return answer.substr(head + 4);
  }

  sockaddr_in address_{};
};

class KillTest : public BinaryTest {
 protected:
  KillTest() : seed_(numberFrom("CAIEXPORT_SEED", std::random_device{}())), random_(seed_) {
    environment["CAIEXPORT_CONNECTIONS"] = std::to_string(kConnections);
    RecordProperty("seed", std::to_string(seed_));
    std::printf("kills: %llu, CAIEXPORT_SEED=%llu\n", static_cast<unsigned long long>(kills_),
                static_cast<unsigned long long>(seed_));
  }

  std::uint64_t upTo(std::uint64_t most) { return std::uniform_int_distribution<std::uint64_t>(0, most)(random_); }

  /// Each round is a job of its own, in a database and a folder of its own.
  void beginRound() {
    ++round_;
    environment["CAIEXPORT_DATABASE"] = path("jobs" + std::to_string(round_) + ".db");
    environment["CAIEXPORT_OUTPUT"] = path(output());
  }

  std::string output() const { return "out" + std::to_string(round_); }

  /// The command that a user would give now; `history` must tell, however the last run ended.
  std::vector<std::string> goOn(const std::vector<std::string>& command) {
    const Ended history = run({"history", "--format", "json"});
    EXPECT_EQ(history.code, 0) << history.err;
    if (history.out == "[]\n" || again_) return command;
    if (run({"show", std::to_string(first_)}).code == 4) return command;
    return {"resume", "--last"};
  }

  /// Something to wait for: at once, a file of the database, so many requests or bytes more, something created.
  std::function<bool()> nextMoment(const Watch& watch, std::uint64_t bytesOfJob, std::uint64_t requestsOfJob) {
    const Served before = watch.look();
    switch (upTo(7)) {
      case 0:
        return [] { return true; };
      case 1:
        return [this] { return std::filesystem::exists(environment.at("CAIEXPORT_DATABASE")); };
      case 2:
        return [watch, before] { return watch.look().created > before.created; };
      case 3:
      case 4: {
        const std::uint64_t at = before.requests + upTo(requestsOfJob);
        return [watch, at] { return watch.look().requests >= at; };
      }
      default: {
        const std::uint64_t at = before.bytes + upTo(bytesOfJob / 2);
        return [watch, at] { return watch.look().bytes >= at; };
      }
    }
  }

  /// Kills runs of the job until one ends by itself, or as many as are left. The last one is let through.
  void killUntilDone(const std::vector<std::string>& command, std::uint64_t bytesOfJob, std::uint64_t requestsOfJob) {
    const Watch watch(simulator_->port());
    while (made_ < mostKills()) {
      const auto process = start(goOn(command));
      const auto moment = nextMoment(watch, bytesOfJob, requestsOfJob);
      ASSERT_TRUE(support::eventually([&] { return process->hasEnded() || moment(); }));
      process->signal(SIGKILL);
      const int code = process->wait();
      if (code != 128 + SIGKILL) {
        ASSERT_EQ(code, 0) << process->errors();
        return;
      }
      ++made_;
      ++ofRound_;
    }
    const Ended last = run(goOn(command));
    ASSERT_EQ(last.code, 0) << last.err;
  }

  /// The commands that share most of their code with those above get fewer.
  std::uint64_t mostKills() const { return few_ ? std::max<std::uint64_t>(2, kills_ / 5) : kills_; }

  /// The same for work that asks nothing of the platform: the moment is told by what lies on disk. `left` looks at what
  /// a kill left behind.
  void killWorkOnDisk(const std::vector<std::string>& command, const std::function<bool()>& moment,
                      const std::function<void()>& left) {
    const auto process = start(command);
    ASSERT_TRUE(support::eventually([&] { return process->hasEnded() || moment(); }));
    process->signal(SIGKILL);
    const int code = process->wait();
    ASSERT_TRUE(code == 0 || code == 128 + SIGKILL) << process->errors();
    ++made_;
    if (code != 0) ++killed_;
    left();
    const Ended last = run(command);
    ASSERT_EQ(last.code, 0) << last.err;
  }

  void expectSoundDatabase() {
    const std::string answer = path("integrity.out");
    const std::string command =
        "sqlite3 '" + environment.at("CAIEXPORT_DATABASE") + "' 'PRAGMA integrity_check' > '" + answer + "' 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0);
    EXPECT_EQ(support::Process::contentOf(answer), "ok\n");
    const Ended shown = run({"show", "1", "--format", "json"});
    ASSERT_EQ(shown.code, 0) << shown.err;
    EXPECT_EQ(parseObject(shown.out)->getValue<std::string>("status"), "succeeded");
    EXPECT_EQ(run({"verify", "1"}).code, 0);
  }

  /// The names of the files and what is in them, but for manifests, which name their job.
  std::map<std::string, std::string> contentUnder(const std::string& folder) const {
    std::map<std::string, std::string> content;
    for (const std::string& name : filesUnder(folder)) {
      const bool manifest = name.ends_with("manifest.json");
      content[name] = manifest ? "" : support::Process::contentOf(folder_ / folder / name);
    }
    return content;
  }

  const std::uint64_t kills_ = numberFrom("CAIEXPORT_KILLS", 20);
  std::uint64_t seed_;
  std::mt19937_64 random_;
  bool few_ = false;
  bool again_ = false;  ///< The command itself goes on, not `resume`.
  int first_ = 1;       ///< The first job of the round that is killed.
  int killed_ = 0;      ///< Of killWorkOnDisk(): those that did not end before.
  std::uint64_t made_ = 0;
  std::uint64_t ofRound_ = 0;
  int round_ = 0;
};

TEST_F(KillTest, ADatasetIsCompleteAfterAnyNumberOfKills) {
  startWith(R"({"batches": 1, "files": )" + std::to_string(kFiles) + R"(, "file_bytes": )" +
            std::to_string(kFileBytes) + R"(, "page_limit": 20,
      "faults": [{"match": {"path": "path="}, "times": -1, "do": {"drip": 3000000}}]})");
  const std::vector<std::string> command{"dataset", "--id", kScoreDataset, "--verify", "size"};
  environment["CAIEXPORT_OUTPUT"] = path("undisturbed");
  ASSERT_EQ(run(command).code, 0);
  const auto expected = contentUnder("undisturbed");
  ASSERT_EQ(expected.size(), kFiles + 2U);
  const std::uint64_t bytesOfJob = kFiles * kFileBytes;

  while (made_ < kills_) {
    beginRound();
    ofRound_ = 0;
    const std::uint64_t before = counted("file_bytes_served");
    ASSERT_NO_FATAL_FAILURE(killUntilDone(command, bytesOfJob, kFiles + 10));
    expectSoundDatabase();
    EXPECT_TRUE(contentUnder(output()) == expected) << testing::PrintToString(filesUnder(output()));
    EXPECT_LE(counted("file_bytes_served") - before, bytesOfJob + ofRound_ * kMostBegun * kFileBytes);
    ASSERT_FALSE(HasFailure()) << "round " << round_ << ", " << ofRound_ << " kills";
  }
  std::printf("%d jobs\n", round_);
}

TEST_F(KillTest, AnExportIsStartedOnceWhateverIsKilled) {
  // The answers to what must happen once come late, so that kills fall between what was done and its answer.
  startWith(R"({"export_files": 8, "file_bytes": 50000, "export_polls": 5, "other_datasets": 0,
      "faults": [{"match": {"method": "POST", "path": "dataSets|export/jobs|segment/jobs"}, "times": -1,
                  "do": {"stall_headers": true, "stall_ms": 60, "carry_out": true}},
                 {"match": {"path": "path="}, "times": -1, "do": {"drip": 3000000}}]})");
  const std::vector<std::string> command{"segment",         "--id", kSegment,     "--verify", "size",
                                         "--poll-interval", "0.01", "--poll-max", "0.01"};
  while (made_ < kills_) {
    beginRound();
    ofRound_ = 0;
    const auto datasets = counted("datasets_created");
    const auto exports = counted("export_jobs_accepted");
    ASSERT_NO_FATAL_FAILURE(killUntilDone(command, 8 * 50000, 40));
    expectSoundDatabase();
    EXPECT_EQ(counted("datasets_created") - datasets, 1U);
    EXPECT_EQ(counted("export_jobs_accepted") - exports, 1U);
    const auto names = filesUnder(output());
    EXPECT_EQ(names.size(), 10U) << testing::PrintToString(names);
    for (const std::string& name : names) EXPECT_FALSE(name.ends_with(".part")) << name;
    ASSERT_FALSE(HasFailure()) << "round " << round_ << ", " << ofRound_ << " kills";
  }
  EXPECT_EQ(counted("unfiltered_exports"), 0U);
  std::printf("%d jobs\n", round_);
}

TEST_F(KillTest, SyncGoesOnByItself) {
  few_ = again_ = true;
  startWith(R"({"batches": 3, "files": 4, "file_bytes": 50000, "replay": true,
      "faults": [{"match": {"path": "path="}, "times": -1, "do": {"drip": 3000000}}]})");
  const std::vector<std::string> command{"sync", "--id", kScoreDataset, "--verify", "size"};
  environment["CAIEXPORT_OUTPUT"] = path("undisturbed");
  ASSERT_EQ(run(command).code, 0);
  const auto expected = contentUnder("undisturbed");
  ASSERT_EQ(expected.size(), 12U) << "two batches, each with a manifest and the mark; the third is replaced";
  while (made_ < mostKills()) {
    beginRound();
    ASSERT_NO_FATAL_FAILURE(killUntilDone(command, 8 * 50000, 30));
    EXPECT_TRUE(contentUnder(output()) == expected) << testing::PrintToString(filesUnder(output()));
    const Ended quiet = run(command);
    EXPECT_EQ(quiet.code, 0) << quiet.err;
    EXPECT_THAT(quiet.out, HasSubstr("nothing new"));
    ASSERT_FALSE(HasFailure()) << "round " << round_;
  }
}

TEST_F(KillTest, AReusedDatasetIsMadeOnceAndADeletedOneGoesOnce) {
  few_ = true;
  startWith(R"({"export_files": 2, "file_bytes": 50000, "export_polls": 3, "other_datasets": 0,
      "faults": [{"match": {"method": "POST|DELETE", "path": "dataSets|export/jobs"}, "times": -1,
                  "do": {"stall_headers": true, "stall_ms": 60, "carry_out": true}}]})");
  const std::vector<std::string> command{"segment",         "--id", kSegment,     "--verify", "size",
                                         "--poll-interval", "0.01", "--poll-max", "0.01"};
  for (const std::string option : {"--reuse", "--delete-dataset"}) {
    made_ = 0;
    const bool reuse = option == "--reuse";
    std::vector<std::string> whole = command;
    whole.push_back(option);
    while (made_ < mostKills()) {
      beginRound();
      const auto made = counted("datasets_created");
      const auto deleted = counted("datasets_deleted");
      const auto exports = counted("export_jobs_accepted");
      if (reuse) {
        // The one whose dataset is taken again.
        ASSERT_EQ(run(whole).code, 0);
        first_ = 2;
      }
      ASSERT_NO_FATAL_FAILURE(killUntilDone(whole, 2 * 50000, 30));
      EXPECT_EQ(counted("datasets_created") - made, 1U) << option;
      EXPECT_EQ(counted("export_jobs_accepted") - exports, reuse ? 2U : 1U) << option;
      EXPECT_EQ(counted("datasets_deleted") - deleted, reuse ? 0U : 1U) << option;
      EXPECT_EQ(filesUnder(output()).size(), reuse ? 8U : 4U) << option;
      EXPECT_EQ(run({"verify", std::to_string(first_)}).code, 0) << option;
      ASSERT_FALSE(HasFailure()) << "round " << round_;
    }
    first_ = 1;
  }
}

TEST_F(KillTest, PruningFilesGoesOnByItself) {
  few_ = true;
  startWith(R"({"batches": 3, "files": 8, "records": 800})");
  while (made_ < mostKills()) {
    beginRound();
    ASSERT_EQ(run({"dataset", "--id", kScoreDataset, "--all", "--verify", "size"}).code, 0);
    ASSERT_EQ(run({"dataset", "--id", kScoreDataset, "--verify", "size"}).code, 0);
    ASSERT_EQ(filesUnder(output()).size(), 30U);
    const std::uint64_t at = 10 + upTo(18);
    ASSERT_NO_FATAL_FAILURE(killWorkOnDisk(
        {"history", "prune", "--before", "0s", "--files"}, [&] { return filesUnder(output()).size() <= at; },
        [&] {
          EXPECT_EQ(run({"verify", "2"}).code, 0) << "what stays is whole";
        }));
    EXPECT_EQ(filesUnder(output()).size(), 10U) << "the newest batch is that of a job that stays";
    EXPECT_EQ(run({"verify", "2"}).code, 0);
    ASSERT_FALSE(HasFailure()) << "round " << round_;
  }
  EXPECT_GT(killed_, 0) << "all had ended before";
}

TEST_F(KillTest, AReportIsThereWholeOrNotAtAll) {
  few_ = true;
  startWith(R"({"batches": 1, "files": 2, "records": 20000})");
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  const std::string report = path("report.csv");
  const std::vector<std::string> command{"read", "1", "--format", "csv", "--output", report};
  ASSERT_EQ(run(command).code, 0);
  const std::string expected = support::Process::contentOf(report);
  ASSERT_FALSE(expected.empty());
  const auto entries = [&] {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      if (entry.path().filename().string().find("report.csv") != std::string::npos) found.push_back(entry.path());
    }
    return found;
  };
  while (made_ < mostKills()) {
    std::filesystem::remove(report);
    const std::uint64_t at = upTo(expected.size());
    const auto written = [&] {
      for (const auto& entry : entries()) {
        std::error_code gone;
        const auto bytes = std::filesystem::file_size(entry, gone);
        if (!gone && bytes >= at) return true;
      }
      return false;
    };
    ASSERT_NO_FATAL_FAILURE(killWorkOnDisk(command, written, [&] {
      if (!std::filesystem::exists(report)) return;
      EXPECT_TRUE(support::Process::contentOf(report) == expected);
    }));
    EXPECT_TRUE(support::Process::contentOf(report) == expected);
    EXPECT_EQ(entries().size(), 1U) << "debris of the one that was killed";
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(killed_, 0) << "all had ended before";
}

TEST_F(KillTest, NoLockOutlivesItsProcess) {
  startWith(R"({"export_polls": 1000000})");
  const auto process = start({"segment", "--id", kSegment, "--poll-interval", "0.02", "--poll-max", "0.02"});
  ASSERT_TRUE(support::eventually([&] { return counted("export_jobs_accepted") == 1; }));
  const Ended busy = run({"resume", "1"});
  EXPECT_EQ(busy.code, 10);
  EXPECT_THAT(busy.err, HasSubstr(std::to_string(process->id())));
  process->signal(SIGKILL);
  process->wait();
  EXPECT_THAT(run({"history", "--format", "json"}).out, HasSubstr(R"("held": false)"));
  changeScenario(R"({"export_polls": 1})");
  const Ended resumed = run({"resume", "1"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
}

}  // namespace
}  // namespace caiexport::binary
