#pragma once
/// The real programs on loopback: a simulator, and caiexport with settings of its own.

#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "binary/programs.h"
#include "support/process.h"
#include "support/sanitizer.h"
#include "support/temp_directory.h"

namespace caiexport::binary {

inline constexpr const char* kScoreDataset = "5f0000000000000000000001";
inline constexpr const char* kSegment = "7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a";

/// How a finished run ended.
struct Ended {
  int code = -1;
  std::string out;
  std::string err;
};

inline Poco::JSON::Object::Ptr parseObject(const std::string& text) {
  return Poco::JSON::Parser().parse(text).extract<Poco::JSON::Object::Ptr>();
}

/// A running caiexport-simulator. Ready when constructed.
class Simulator {
 public:
  Simulator(const std::filesystem::path& folder, std::vector<std::string> arguments, std::string scheme)
      : scheme_(std::move(scheme)), portFile_(folder / "port") {
    arguments.insert(arguments.end(), {"--port-file", portFile_.string(), "--data-dir", (folder / "data").string()});
    support::Environment environment{{"PATH", "/usr/bin:/bin"}, {"HOME", folder.string()}};
    process_ = std::make_unique<support::Process>(kSimulator, arguments, environment, folder / "simulator");
    const bool ready = support::eventually([&] { return std::filesystem::exists(portFile_) || process_->hasEnded(); });
    if (!ready || process_->hasEnded()) throw std::runtime_error("the simulator did not start: " + process_->errors());
    port_ = support::Process::contentOf(portFile_);
    while (!port_.empty() && port_.back() == '\n') port_.pop_back();
  }

  std::string url() const { return scheme_ + "://127.0.0.1:" + port_; }
  const std::string& port() const { return port_; }
  support::Process& process() { return *process_; }

 private:
  std::string scheme_;
  std::filesystem::path portFile_;
  std::string port_;
  std::unique_ptr<support::Process> process_;
};

/// One test's folder with a simulator's and caiexport's settings in it.
class BinaryTest : public testing::Test {
 protected:
  /// Plain http unless `useTls` was called before.
  void startSimulator(std::vector<std::string> arguments = {}) {
    if (tls_) arguments.insert(arguments.end(), {"--tls", path("server.pem"), path("server.key")});
    simulator_ = std::make_unique<Simulator>(folder_.path(), std::move(arguments), tls_ ? "https" : "http");
    environment["CAIEXPORT_BASE_URL"] = simulator_->url();
    environment["CAIEXPORT_IMS_URL"] = simulator_->url();
  }

  /// Starts with a scenario given as JSON.
  void startWith(const std::string& scenario, std::vector<std::string> arguments = {}) {
    std::ofstream(folder_ / "scenario.json") << scenario;
    arguments.insert(arguments.end(), {"--scenario", path("scenario.json")});
    startSimulator(std::move(arguments));
  }

  /// Makes a CA and a server certificate for 127.0.0.1 with the openssl program.
  void useTls() {
    tls_ = true;
    const std::string script =
        "set -e; cd '" + folder_.path().string() +
        "'; openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj '/CN=Test CA' "
        "2>/dev/null; "
        "openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj '/CN=simulator' 2>/dev/null; "
        "printf 'subjectAltName=IP:127.0.0.1,DNS:localhost' > san; "
        "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out "
        "server.pem "
        "2>/dev/null";
    ASSERT_EQ(std::system(script.c_str()), 0) << "openssl could not make certificates";
    environment["CAIEXPORT_CA_FILE"] = path("ca.pem");
  }

  std::unique_ptr<support::Process> start(std::vector<std::string> arguments) {
    return std::make_unique<support::Process>(kCaiexport, std::move(arguments), environment,
                                              folder_ / ("run" + std::to_string(++runs_)));
  }

  Ended run(std::vector<std::string> arguments) {
    const auto process = start(std::move(arguments));
    Ended ended;
    ended.code = process->wait();
    ended.out = process->output();
    ended.err = process->errors();
    return ended;
  }

  /// Under `limit`, as a shell says it.
  Ended runUnder(const std::string& limit, const std::string& words) {
    std::string settings;
    for (const auto& [name, value] : environment) settings += name + "='" + value + "' ";
    const std::string command = limit + "; " + settings + "exec " + std::string(kCaiexport) + " " + words + " > '" +
                                path("limited.out") + "' 2> '" + path("limited.err") + "'";
    const int status = std::system(command.c_str());
    return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            .out = support::Process::contentOf(path("limited.out")),
            .err = support::Process::contentOf(path("limited.err"))};
  }

  /// Of a program that not every machine has.
  static bool isInstalled(const std::string& program) {
    return std::system(("command -v " + program + " > /dev/null 2>&1").c_str()) == 0;
  }

  /// What the simulator counted: GET /_simulator/state.
  Poco::JSON::Object::Ptr platformState() { return parseObject(get("/_simulator/state")); }
  std::uint64_t counted(const std::string& key) { return platformState()->getValue<std::uint64_t>(key); }

  std::string get(const std::string& target) { return curl("'" + simulator_->url() + target + "'"); }
  void changeScenario(const std::string& json) { post("/_simulator/scenario", json); }
  void post(const std::string& target, const std::string& json) {
    std::ofstream(folder_ / "change.json") << json;
    curl("-X POST -H 'Content-Type: application/json' --data-binary @'" + path("change.json") + "' '" +
         simulator_->url() + target + "'");
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  /// Also while a program deletes folders there: then from the start again.
  std::vector<std::string> filesUnder(const std::string& name) const {
    std::error_code error;
    while (true) {
      std::vector<std::string> files;
      std::filesystem::recursive_directory_iterator each(folder_ / name, error);
      for (; !error && each != std::filesystem::recursive_directory_iterator(); each.increment(error)) {
        std::error_code gone;
        if (!each->is_regular_file(gone)) continue;
        files.push_back(each->path().lexically_relative(folder_ / name).string());
      }
      std::sort(files.begin(), files.end());
      if (!error || !std::filesystem::exists(folder_ / name)) return files;
      if (error != std::errc::no_such_file_or_directory) throw std::filesystem::filesystem_error(name, error);
    }
  }

  support::TempDirectory folder_;
  support::Environment environment{{"PATH", "/usr/bin:/bin"},
                                   {"HOME", folder_.path().string()},
                                   {"LANG", "C.UTF-8"},
                                   {"CAIEXPORT_CLIENT_ID", "sim-client"},
                                   {"CAIEXPORT_CLIENT_SECRET", "sim-secret"},
                                   {"CAIEXPORT_ORG_ID", "SIMULATOR@AdobeOrg"},
                                   {"CAIEXPORT_SANDBOX", "prod"},
                                   {"CAIEXPORT_DATABASE", path("jobs.db")},
                                   {"CAIEXPORT_OUTPUT", path("out")},
                                   {"CAIEXPORT_RETRY_WAIT", "0.01"},
                                   {"CAIEXPORT_LOOK_UP", "300ms"}};
  std::unique_ptr<Simulator> simulator_;

 private:
  std::string curl(const std::string& arguments) {
    const std::string answer = path("curl.out");
    const std::string command = "curl -fsS --noproxy '*' " +
                                (tls_ ? "--cacert '" + path("ca.pem") + "' " : std::string()) + arguments + " > '" +
                                answer + "'";
    if (std::system(command.c_str()) != 0) throw std::runtime_error("no answer from the simulator: " + command);
    return support::Process::contentOf(answer);
  }

  bool tls_ = false;
  int runs_ = 0;
};

}  // namespace caiexport::binary
