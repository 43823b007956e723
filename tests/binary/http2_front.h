#pragma once
/// The simulator behind a program that speaks HTTP/2.

#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "binary/fixture.h"

namespace caiexport::binary {

class Http2Test : public BinaryTest {
 protected:
  /// As startSimulator(); caiexport is led to the program before it, which gets `options`.
  void startBehindHttp2(std::vector<std::string> arguments = {}, const std::vector<std::string>& options = {}) {
    startSimulator(std::move(arguments));
    useTls();
    std::vector<std::string> words{"--to",  simulator_->port(), "--certificate", path("server.pem"),
                                   "--key", path("server.key")};
    words.insert(words.end(), options.begin(), options.end());
    front_ = std::make_unique<support::Process>(kHttp2Front, words, support::Environment{}, path("front"));
    support::eventually([&] { return front_->output().ends_with("\n") || front_->hasEnded(); });
    if (front_->hasEnded())
      throw std::runtime_error("the program before the simulator did not start: " + front_->errors());
    const std::string port = front_->output();
    frontUrl_ = "https://127.0.0.1:" + port.substr(0, port.size() - 1);
    environment["CAIEXPORT_BASE_URL"] = frontUrl_;
    environment["CAIEXPORT_IMS_URL"] = frontUrl_;
  }

  /// Ends the program before the simulator; what it saw, `name: value` a line.
  std::string endFront() {
    front_->signal(SIGTERM);
    front_->wait();
    const std::string output = front_->output();
    return output.substr(output.find('\n') + 1);
  }

  std::unique_ptr<support::Process> front_;
  std::string frontUrl_;
};

}  // namespace caiexport::binary
