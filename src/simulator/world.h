#pragma once
/// The simulated platform: requests in, responses out, no sockets.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "simulator/message.h"
#include "simulator/state.h"

namespace caiexport::simulator {

/// Thread safe. Keeps references to `data` and `clock`.
class World {
 public:
  World(Scenario scenario, DataSource& data, core::Clock& clock);

  /// Answers one request. Fails never: what goes wrong inside is a 500 with the reason. The answer's `transport` is
  /// for the caller to carry out, and so are the counters below.
  Response handle(const Request& request);

  /// Moves the platform's clock on: tokens expire.
  void advance(std::chrono::seconds by);
  /// Changes scenario keys as `POST /_simulator/scenario` does. core::Error(usage) as applyScenario.
  void change(const std::string& scenarioJson);
  /// Makes the files of the newest score batch now rather than when they are first listed.
  void prepare();

  Statistics statistics() const;
  /// The same and more as JSON: the answer of `GET /_simulator/state`.
  std::string stateJson() const;

  /// Told by whoever carries the answers.
  void countServed(const Response& response, std::uint64_t bytes);
  void countConnection();
  void countHandshake();
  void requestBegins();
  void requestEnds();

 private:
  mutable std::mutex mutex_ = {};
  std::uint64_t requestNumber_ = 0;
  State state_;
};

}  // namespace caiexport::simulator
