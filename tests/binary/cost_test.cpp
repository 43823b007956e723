/// What a start, a download and reading cost, counted rather than timed: libraries, connections, requests, bytes,
/// instructions, copies.

#include <duckdb.h>

#include <charconv>

#include "bench/profile_data.h"
#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using std::uint64_t;

constexpr uint64_t kMiB = 1U << 20U;

class Cost : public BinaryTest {
 protected:
  /// Files on the platform, and pages that list them: of the batch, and of its one dataset file.
  static uint64_t pagesFor(uint64_t files) { return 1 + (files + 99) / 100; }

  Ended download(unsigned connections) {
    return run({"dataset", "--id", kScoreDataset, "--verify", "size", "--connections", std::to_string(connections)});
  }

  static uint64_t sumOf(const Poco::JSON::Object::Ptr& counts) {
    uint64_t sum = 0;
    for (const auto& entry : *counts) sum += entry.second.convert<uint64_t>();
    return sum;
  }
};

TEST_F(Cost, ManyFilesTakeOneConnectionPerWorkerAndOneRequestPerFile) {
  useTls();
  startWith(R"({"world": "plain", "files": 350, "file_bytes": 5000, "success_marker": false})");
  const Ended ended = download(4);
  ASSERT_EQ(ended.code, 0) << ended.err;

  const auto state = platformState();
  const auto requests = state->getObject("requests");
  EXPECT_EQ(requests->getValue<uint64_t>("GET /data/foundation/export/files/{id}?path"), 350U);
  // Besides: a token, and the list of batches.
  EXPECT_LE(sumOf(requests), 350 + pagesFor(350) + 2);
  EXPECT_EQ(state->getValue<uint64_t>("file_bytes_served"), 350U * 5000);
  // The last connection is the one that asked for these numbers.
  EXPECT_LE(state->getValue<uint64_t>("connections"), 4U + 1 + 1);
  EXPECT_EQ(state->getValue<uint64_t>("handshakes"), state->getValue<uint64_t>("connections"));
}

TEST_F(Cost, TheDefaultRunMakesTheFewRequestsOfAdobesPage) {
  startWith(R"({"world": "plain", "files": 1, "success_marker": false, "records": 50, "batches": 40})");
  ASSERT_EQ(download(1).code, 0);
  const auto requests = platformState()->getObject("requests");
  EXPECT_EQ(requests->getValue<uint64_t>("POST /ims/token/v3"), 1U);
  EXPECT_EQ(requests->getValue<uint64_t>("GET /data/foundation/catalog/batches"), 1U);
  EXPECT_EQ(requests->getValue<uint64_t>("GET /data/foundation/export/batches/{id}/files"), 1U);
  EXPECT_EQ(requests->getValue<uint64_t>("GET /data/foundation/export/files/{id}"), 1U);
  EXPECT_EQ(requests->getValue<uint64_t>("GET /data/foundation/export/files/{id}?path"), 1U);
  EXPECT_EQ(sumOf(requests), 5U) << "a token, a batch, its dataset file, its file, the bytes";
}

TEST_F(Cost, TheWayToThePlatformIsOpenedWhileTheTokenIsAskedFor) {
  useTls();
  startWith(R"({"world": "plain", "files": 1, "success_marker": false, "records": 50})");
  // Of another origin than the platform, as Adobe's is.
  environment["CAIEXPORT_IMS_URL"] = "https://localhost:" + simulator_->port();
  const Ended ended = run(
      {"dataset", "--id", kScoreDataset, "--connections", "1", "--log-file", path("events"), "--log-level", "debug"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  std::vector<std::string> ways;
  std::ifstream events(path("events"));
  for (std::string line; std::getline(events, line);) {
    const auto event = parseObject(line);
    if (event->getValue<std::string>("event") == "request") ways.push_back(event->getValue<std::string>("connection"));
  }
  EXPECT_THAT(ways, testing::ElementsAre("new", "ahead", "reused", "reused", "reused"))
      << "a token, a batch, its dataset file, its file, the bytes";
  // The last one asks for these numbers.
  EXPECT_EQ(platformState()->getValue<uint64_t>("connections"), 3U);
}

TEST_F(Cost, WhatCannotBeReadCostsNoQuestionMore) {
  startWith(R"({"files": 1, "success_marker": false, "records": 50, "tracking_batches": true, "consolidations": 1})");
  ASSERT_EQ(download(1).code, 0);
  EXPECT_EQ(platformState()->getObject("requests")->getValue<uint64_t>("GET /data/foundation/catalog/batches"), 1U)
      << "the consolidation came first, and the batch that it holds in the same answer";
}

TEST_F(Cost, LargeFileTakesOneRequestPerRangeAndEachByteComesOnce) {
  useTls();
  startWith(R"({"files": 1, "file_bytes": 67108864, "success_marker": false})");
  const Ended ended = download(1);
  ASSERT_EQ(ended.code, 0) << ended.err;

  const auto state = platformState();
  // Ranges have 8 MiB at first, and grow with the rate. This server names no version of the file, so that its end comes
  // first, and again when all is here.
  EXPECT_LE(state->getObject("requests")->getValue<uint64_t>("GET /data/foundation/export/files/{id}?path"), 8U + 2);
  EXPECT_LE(state->getValue<uint64_t>("connections"), 1U + 1 + 1);
  EXPECT_EQ(state->getValue<uint64_t>("handshakes"), state->getValue<uint64_t>("connections"));
  EXPECT_EQ(state->getValue<uint64_t>("file_bytes_served"), 64 * kMiB + 256 * 1024);
}

TEST_F(Cost, SplitTailsCostAtMostARangePerWorker) {
  useTls();
  startWith(R"({"files": 1, "file_bytes": 67108864, "success_marker": false})");
  const Ended ended = download(4);
  ASSERT_EQ(ended.code, 0) << ended.err;

  const auto state = platformState();
  // A worker that runs dry takes half of what another one still has to get; the other's connection is cut there. How
  // often that happens depends on who gets the processor: twice a worker on an idle machine, and up to four times seen.
  EXPECT_LE(state->getObject("requests")->getValue<uint64_t>("GET /data/foundation/export/files/{id}?path"),
            8U + 4 * 4);
  EXPECT_LE(state->getValue<uint64_t>("connections"), 4 * 4U + 1 + 1);
  EXPECT_EQ(state->getValue<uint64_t>("handshakes"), state->getValue<uint64_t>("connections"));
  EXPECT_LE(state->getValue<uint64_t>("file_bytes_served"), (64 + 4 * 8) * kMiB);
}

/// What the loader of the GNU C library tells of a process; nothing where there is another one.
class Start : public BinaryTest {
 protected:
  std::vector<std::string> librariesOf(std::vector<std::string> arguments) {
    environment["LD_DEBUG"] = "files";
    environment["LD_DEBUG_OUTPUT"] = path("loaded");
    process_ = start(std::move(arguments));
    const std::string told = path("loaded." + std::to_string(process_->id()));
    code_ = process_->wait();
    std::vector<std::string> names;
    std::ifstream lines(told);
    const std::string mark = "calling init: ";
    for (std::string line; std::getline(lines, line);) {
      const std::size_t at = line.find(mark);
      if (at != line.npos) names.push_back(std::filesystem::path(line.substr(at + mark.size())).filename());
    }
    return names;
  }

  std::unique_ptr<support::Process> process_;
  int code_ = -1;
};

TEST_F(Start, LoadsWhatSpeaksToAServerOnlyWhereOneIsNamed) {
  const auto ofServers = testing::Contains(testing::ContainsRegex("^lib(pq|ldap|krb5|gssapi|sasl)"));
  const std::vector<std::string> least = librariesOf({"--version"});
  if (least.empty()) GTEST_SKIP() << "NOT CHECKED: this loader does not tell what it loads";
  EXPECT_EQ(code_, 0);
  EXPECT_THAT(least, testing::Not(ofServers));
  if (!support::kSanitized) {
    EXPECT_LE(least.size(), 20U) << testing::PrintToString(least);
  }

  EXPECT_THAT(librariesOf({"history"}), testing::Not(ofServers));
  EXPECT_EQ(code_, 0) << process_->errors();

  EXPECT_THAT(librariesOf({"history", "--database", "postgresql://127.0.0.1:1/x"}), ofServers);
  EXPECT_EQ(code_, 7) << process_->errors();
}

TEST_F(Start, LoadsTheReaderForTablesOnly) {
  const auto ofReader = testing::Contains(testing::ContainsRegex("^(caiexport-reader|libduckdb)"));
  if (librariesOf({"--version"}).empty()) GTEST_SKIP() << "NOT CHECKED: this loader does not tell what it loads";
  // These are called .parquet, and are none.
  startSimulator({"--files", "5", "--file-bytes", "5000"});
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset, "--verify", "size"}).code, 0);
  for (const std::string& what : {std::string("1"), path("out")}) {
    EXPECT_THAT(librariesOf({"verify", what}), testing::Not(ofReader)) << what;
    EXPECT_EQ(code_, 0) << process_->errors();
    EXPECT_THAT(process_->output(), testing::AllOf(testing::ContainsRegex("not counted  .*\\.parquet"),
                                                   testing::HasSubstr("files are as recorded")));
  }
  simulator_.reset();
  std::filesystem::remove(path("port"));
  startSimulator({"--files", "1", "--records", "50"});
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset, "--output", path("tables"), "--verify", "size"}).code, 0);
  EXPECT_THAT(librariesOf({"verify", path("tables")}), ofReader);
  EXPECT_EQ(code_, 0) << process_->errors();
}

/// Under valgrind, over plain http: what is counted is our own work, SHA-256 included.
class CountedCost : public Cost {
 protected:
  void SetUp() override {
    if (support::kSanitized) GTEST_SKIP() << "NOT CHECKED: valgrind can't run a program with sanitizers";
#if !defined(NDEBUG)
    GTEST_SKIP() << "NOT CHECKED: the bounds are those of an optimised build (CMAKE_BUILD_TYPE=Release)";
#endif
    if (!isInstalled("valgrind")) {
      GTEST_SKIP() << "NOT CHECKED: instructions and copies, since valgrind is missing (scripts/setup installs it)";
    }
  }

  void serve(uint64_t files, uint64_t fileBytes) {
    const std::string shape = "\"files\": " + std::to_string(files) + ", \"file_bytes\": " + std::to_string(fileBytes);
    if (simulator_) {
      changeScenario("{" + shape + "}");
    } else {
      startWith("{\"success_marker\": false, " + shape + "}");
    }
  }

  uint64_t instructionsFor(uint64_t files, uint64_t fileBytes) {
    serve(files, fileBytes);
    return instructionsOf(freshDownload());
  }

  uint64_t instructionsOf(const std::vector<std::string>& command, int code = 0) {
    return numberAfter("Collected : ", valgrind({"--tool=callgrind", "--callgrind-out-file=/dev/null"}, command, code));
  }

  uint64_t bytesCopiedFor(uint64_t files, uint64_t fileBytes) {
    serve(files, fileBytes);
    return numberAfter("Total: ",
                       valgrind({"--tool=dhat", "--mode=copy", "--dhat-out-file=/dev/null"}, freshDownload()));
  }

 private:
  std::vector<std::string> freshDownload() {
    const std::string stem = path("fresh" + std::to_string(++runs_));
    return {"--database", stem + ".db", "dataset",       "--id", kScoreDataset, "--output", stem,
            "--verify",   "size",       "--connections", "4"};
  }

  /// What valgrind prints about it.
  std::string valgrind(std::vector<std::string> arguments, const std::vector<std::string>& command, int code = 0) {
    arguments.emplace_back(kCaiexport);
    arguments.insert(arguments.end(), command.begin(), command.end());
    arguments.insert(arguments.begin(), "valgrind");
    support::Process process("/usr/bin/env", arguments, environment, path("valgrind" + std::to_string(++runs_)));
    EXPECT_EQ(process.wait(), code) << process.errors();
    return process.errors();
  }

  /// Numbers are printed with commas.
  static uint64_t numberAfter(const std::string& mark, const std::string& text) {
    const std::size_t found = text.find(mark);
    EXPECT_NE(found, std::string::npos) << text;
    std::string digits;
    for (std::size_t i = found + mark.size(); found != std::string::npos && i < text.size(); ++i) {
      if (text[i] == ' ' && digits.empty()) continue;
      if (text[i] == ',') continue;
      if (text[i] < '0' || text[i] > '9') break;
      digits += text[i];
    }
    uint64_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    EXPECT_GT(number, 0U) << text;
    return number;
  }

  int runs_ = 0;
};

TEST_F(CountedCost, InstructionsPerByteAndPerFile) {
  const auto small = static_cast<double>(instructionsFor(1, kMiB));
  const auto large = static_cast<double>(instructionsFor(1, 9 * kMiB));
  const auto many = static_cast<double>(instructionsFor(151, kMiB / 151));
  const double perByte = (large - small) / (8 * kMiB);
  const double perFile = (many - small) / 150;
  RecordProperty("instructions_per_byte", std::to_string(perByte));
  RecordProperty("instructions_per_file", std::to_string(perFile));
  // SHA-256 takes nearly all of the first (valgrind's processor has no instructions for it).
  EXPECT_LT(perByte, 32);
  // 178,000 where up to sixteen files share a record, up to 200,000 on a busy machine, which lets fewer of them.
  EXPECT_LT(perFile, 220'000);
}

/// Ten thousand customers as the benches have them: 24 fields, two maps, a list of factors, 1.1 KB as JSON.
TEST_F(CountedCost, InstructionsOfARow) {
  const auto profiles = [this](uint64_t rows) {
    duckdb_database database = nullptr;
    duckdb_connection connection = nullptr;
    duckdb_open(nullptr, &database);
    duckdb_connect(database, &connection);
    std::string file = path("profiles" + std::to_string(rows) + ".parquet");
    bench::writeProfiles(connection, file, 0, rows);
    duckdb_disconnect(&connection);
    duckdb_close(&database);
    return file;
  };
  const std::string few = profiles(2'000);
  const std::string many = profiles(12'000);
  for (const std::string format : {"jsonl", "csv"}) {
    const auto read = [&](const std::string& file) {
      return static_cast<double>(
          instructionsOf({"read", file, "--all-columns", "--format", format, "--output", file + "." + format}));
    };
    const double perRow = (read(many) - read(few)) / 10'000;
    RecordProperty("instructions_per_row_" + format, std::to_string(perRow));
    // About 20,000, half of them DuckDB's, which reads the columns and copies what it read once. While another thread
    // reads, the one that fetches asks in a loop, now and then for 4,000 a row more.
    EXPECT_LT(perRow, 28'000) << format;
  }
}

TEST_F(CountedCost, InstructionsOfAStart) {
  const uint64_t version = instructionsOf({"--version"});
  startWith(R"({"files": 1, "records": 50})");
  for (int jobs = 0; jobs < 3; ++jobs) EXPECT_EQ(download(1).code, 0);
  const uint64_t history = instructionsOf({"history"});
  RecordProperty("instructions_of_version", std::to_string(version));
  RecordProperty("instructions_of_history", std::to_string(history));
  // Nearly all are the loader's, and most of the rest is SQLite reading the schema.
  EXPECT_LT(version, 22'000'000U);
  EXPECT_LT(history - version, 4'000'000U);
}

TEST_F(CountedCost, InstructionsPerBatch) {
  const auto chosen = [&](uint64_t batches) {
    // A simulator that starts waits for the file in which the last one named its port.
    simulator_.reset();
    std::filesystem::remove(path("port"));
    // It ends where the files of the first batch are asked for: not allowed.
    startWith(R"({"world": "plain", "failed_batches": 0, "files": 1, "batch_spacing_seconds": 3600, "batches": )" +
              std::to_string(batches) +
              R"(, "faults": [{"match": {"path": "/export/batches/"}, "times": -1, "do": {"status": 403}}]})");
    const std::string stem = path("chosen" + std::to_string(batches));
    return static_cast<double>(
        instructionsOf({"--database", stem + ".db", "dataset", "--id", kScoreDataset, "--all", "--output", stem}, 3));
  };
  const double few = chosen(100);
  const double perBatch = (chosen(1100) - few) / 1000;
  RecordProperty("instructions_per_batch", std::to_string(perBatch));
  // 152,000 when this was written; half of it is reading JSON.
  EXPECT_LT(perBatch, 165'000);
}

TEST_F(CountedCost, BodiesAreNotCopied) {
  // From the socket to the file: besides the head's buffer, a byte is in one place only.
  EXPECT_LT(bytesCopiedFor(1, 8 * kMiB), 2 * kMiB);
}

}  // namespace
}  // namespace caiexport::binary
