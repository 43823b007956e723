#include <Poco/Net/SSLManager.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <system_error>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "simulator/options.h"
#include "simulator/parquet_source.h"
#include "simulator/server.h"
#include "simulator/state.h"
#include "simulator/world.h"

namespace {

using namespace caiexport;
using namespace caiexport::simulator;

/// A folder of its own under the system's temporary one, removed with everything in it.
class DataFolder {
 public:
  explicit DataFolder(const std::string& given) : path_(given), temporary_(given.empty()) {
    if (temporary_) {
      std::string name = (std::filesystem::temp_directory_path() / "caiexport-simulator-XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr) {
        core::throwIoError("create", name, errno);
      }
      path_ = name;
    }
  }
  ~DataFolder() {
    if (temporary_) {
      std::error_code ignored;
      std::filesystem::remove_all(path_, ignored);
    }
  }
  DataFolder(const DataFolder&) = delete;
  DataFolder& operator=(const DataFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  bool temporary_;
};

/// OpenSSL's tables, for as long as the program runs.
struct Ssl {
  Ssl() { Poco::Net::initializeSSL(); }
  ~Ssl() { Poco::Net::uninitializeSSL(); }
  Ssl(const Ssl&) = delete;
  Ssl& operator=(const Ssl&) = delete;
};

sigset_t endSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

void printSettings(const Options& options, const Scenario& scenario, const std::string& url) {
  const auto line = [](const std::string& name, const std::string& value) {
    std::cout << "export " << name << "='" << value << "'\n";
  };
  std::cout << "# caiexport-simulator listens. Settings for caiexport:\n";
  line("CAIEXPORT_BASE_URL", url);
  line("CAIEXPORT_IMS_URL", url);
  line("CAIEXPORT_CLIENT_ID", scenario.clientId);
  line("CAIEXPORT_CLIENT_SECRET", scenario.clientSecret);
  line("CAIEXPORT_ORG_ID", scenario.organization);
  line("CAIEXPORT_SANDBOX", scenario.sandboxes.empty() ? "" : scenario.sandboxes.front());
  if (!options.certificateFile.empty()) {
    line("CAIEXPORT_CA_FILE", std::filesystem::absolute(options.certificateFile).string());
  }
  std::cout << "# score dataset: caiexport dataset --id " << scoreDatasetId
            << "\n# segment:       caiexport segment --id " << highRiskSegmentId << std::endl;
}

void listScenarios() {
  for (const BuiltinScenario& scenario : builtinScenarios()) {
    std::cout << scenario.name << ": " << descriptionOf(scenario) << '\n';
  }
}

int serve(const Options& options) {
  // Blocked before any thread is made, so that all inherit it and sigwait below gets them.
  const sigset_t signals = endSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const Scenario scenario = scenarioOf(options);
  const Ssl ssl;
  const DataFolder folder(options.dataFolder);
  ParquetSource data(folder.path());
  World world(scenario, data, core::systemClock());
  world.prepare();
  const Server server(world, {.host = options.host,
                              .port = options.port,
                              .certificateFile = options.certificateFile,
                              .keyFile = options.keyFile,
                              .tlsMin = options.tlsMin,
                              .tlsMax = options.tlsMax,
                              .handshakeDelay = std::chrono::milliseconds(options.handshakeDelayMs)});
  printSettings(options, scenario, server.url());
  if (!options.portFile.empty()) {
    core::writeFileAtomically(core::diskFileSystem(), options.portFile, std::to_string(server.port()) + "\n");
  }
  int received = 0;
  sigwait(&signals, &received);
  return EXIT_SUCCESS;
}

int run(int count, const char* const* words) {
  const Options options = parseOptions(std::span(words, static_cast<std::size_t>(count)).subspan(1));
  if (options.help) {
    std::cout << helpText();
    return EXIT_SUCCESS;
  }
  if (options.listScenarios) {
    listScenarios();
    return EXIT_SUCCESS;
  }
  return serve(options);
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(count, words);
  } catch (const core::Error& error) {
    std::cerr << "caiexport-simulator: " << error.what() << '\n';
    if (!error.hint().empty()) {
      std::cerr << error.hint() << '\n';
    }
    return core::exitCodeOf(error.category());
  } catch (const std::exception& error) {
    std::cerr << "caiexport-simulator: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
