#include <Poco/Net/SocketAddress.h>
#include <Poco/Net/StreamSocket.h>
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>

#include "simulator/raw_client.h"
#include "support/process.h"
#include "support/temp_directory.h"

namespace caiexport::simulator {
namespace {

using testing::HasSubstr;

/// The real program, with a home and a temporary folder of its own.
struct Program : testing::Test {
  support::TempDirectory folder;
  std::unique_ptr<support::Process> process;

  void start(const std::vector<std::string>& arguments) {
    std::filesystem::create_directory(folder / "tmp");
    const support::Environment environment{{"HOME", folder.path().string()}, {"TMPDIR", (folder / "tmp").string()}};
    process = std::make_unique<support::Process>(CAIEXPORT_SIMULATOR, arguments, environment, folder / "simulator");
  }

  int run(const std::vector<std::string>& arguments) {
    start(arguments);
    return process->wait();
  }

  /// Starts it and returns its port.
  std::uint16_t serve(std::vector<std::string> arguments) {
    const auto portFile = folder / "port";
    arguments.insert(arguments.end(), {"--port-file", portFile.string()});
    start(arguments);
    EXPECT_TRUE(support::eventually([&] { return std::filesystem::exists(portFile) || process->hasEnded(); }));
    return static_cast<std::uint16_t>(std::stoi(support::Process::contentOf(portFile)));
  }
};

TEST_F(Program, ListensTellsHowToReachItAndEndsCleanly) {
  const std::uint16_t port = serve({"--records", "30", "--files", "2"});
  EXPECT_THAT(process->output(),
              HasSubstr("export CAIEXPORT_BASE_URL='http://127.0.0.1:" + std::to_string(port) + "'\n"));
  EXPECT_THAT(process->output(), HasSubstr("--id 5f0000000000000000000001"));
  EXPECT_THAT(process->output(), HasSubstr("--id 7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a"));
  RawClient client(port);
  client.send("GET", scoreBatches);
  EXPECT_THAT(client.receiveOne().bytes, testing::StartsWith("HTTP/1.1 200"));
  // The client's connection is still open.
  process->signal(SIGTERM);
  EXPECT_EQ(process->wait(), 0);
  EXPECT_EQ(process->errors(), "");
  EXPECT_TRUE(std::filesystem::is_empty(folder / "tmp"));
}

TEST_F(Program, EndsOnSigintInTheMiddleOfAnAnswer) {
  std::ofstream(folder / "slow.json") << R"({"faults": [{"times": -1, "do": {"stall_headers": true}}]})";
  const std::uint16_t port = serve({"--scenario", (folder / "slow.json").string(), "--records", "3"});
  RawClient client(port);
  client.send("GET", scoreBatches);
  RawClient watcher(port);
  EXPECT_TRUE(support::eventually([&] {
    watcher.send("GET", "/_simulator/state");
    return watcher.receiveOne().bytes.find(R"("faults_fired":1)") != std::string::npos;
  }));
  process->signal(SIGINT);
  EXPECT_EQ(process->wait(), 0);
}

TEST_F(Program, WrongUsageIsNamed) {
  EXPECT_EQ(run({"--recods", "1"}), 2);
  EXPECT_THAT(process->errors(), HasSubstr("--recods"));
  EXPECT_EQ(run({"--scenario", "nowhere"}), 2);
  EXPECT_THAT(process->errors(), HasSubstr("nowhere"));
}

TEST_F(Program, HelpsAndListsScenarios) {
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_THAT(process->output(), HasSubstr("CAIEXPORT_BASE_URL"));
  EXPECT_EQ(run({"--list-scenarios"}), 0);
  for (const char* name : {"active", "default", "export-errors", "export-fails", "flaky", "late-batch", "many",
                           "nested", "paged", "throttled"}) {
    EXPECT_THAT(process->output(), HasSubstr(std::string(name) + ": "));
  }
}

TEST_F(Program, AnUnusableFolderIsAnIoError) {
  std::ofstream(folder / "file") << "not a folder";
  EXPECT_EQ(run({"--data-dir", (folder / "file").string()}), 9);
}

}  // namespace
}  // namespace caiexport::simulator
