#include <Poco/Net/SSLManager.h>
#include <Poco/Util/OptionSet.h>
#include <Poco/Util/ServerApplication.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <span>
#include <system_error>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "simulator/content.h"
#include "simulator/options.h"
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
      if (::mkdtemp(name.data()) == nullptr) core::throwIoError("create", name, errno);
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

/// Those that waitForTerminationRequest() takes. Blocked before any thread is made, so that all inherit it and none of
/// them ends the program before its time.
void blockEndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGQUIT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
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
  std::cout << "# score dataset: caiexport dataset --id " << kScoreDatasetId
            << "\n# segment:       caiexport segment --id " << kHighRiskSegmentId << std::endl;
}

void listScenarios() {
  for (const BuiltinScenario& scenario : builtinScenarios()) {
    std::cout << scenario.name << ": " << descriptionOf(scenario) << '\n';
  }
}

int serve(const Options& options, const std::function<void()>& waitForEnd) {
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
  waitForEnd();
  return EXIT_SUCCESS;
}

int perform(std::span<const char* const> words, const std::function<void()>& waitForEnd) {
  if (!words.empty() && std::string_view(words.front()) == "complete") {
    std::cout << completions(words.subspan(1));
    return EXIT_SUCCESS;
  }
  const Options options = parseOptions(words);
  if (options.help) {
    std::cout << helpText();
    return EXIT_SUCCESS;
  }
  if (options.listScenarios) {
    listScenarios();
    return EXIT_SUCCESS;
  }
  return serve(options, waitForEnd);
}

/// Poco sees no word but the program's name: options are parseOptions()'s, and a --daemon is none of them.
class SimulatorApplication final : public Poco::Util::ServerApplication {
 public:
  explicit SimulatorApplication(std::span<const char* const> words) : words_(words) {}

 protected:
  void defineOptions(Poco::Util::OptionSet&) override {}
  int main(const ArgVec&) override;

 private:
  std::span<const char* const> words_;
};

int SimulatorApplication::main(const ArgVec&) {
  try {
    return perform(words_, [this] { waitForTerminationRequest(); });
  } catch (const core::Error& error) {
    std::cerr << "caiexport-simulator: " << error.what() << '\n';
    if (!error.hint().empty()) std::cerr << error.hint() << '\n';
    return core::exitCodeOf(error.category());
  } catch (const std::exception& error) {
    std::cerr << "caiexport-simulator: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}

}  // namespace

int main(int count, char** words) {
  blockEndSignals();
  try {
    SimulatorApplication application(std::span(words, static_cast<std::size_t>(count)).subspan(1));
    // With a slash: Poco would look for it in PATH, and throw where there is none.
    return application.run({"./caiexport-simulator"});
  } catch (const std::exception& error) {
    std::cerr << "caiexport-simulator: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
