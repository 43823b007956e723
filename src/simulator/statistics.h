#pragma once
/// What the platform saw; for assertions.

#include <cstdint>
#include <map>
#include <string>

namespace caiexport::simulator {

struct Statistics {
  std::uint64_t tokensIssued = 0;
  std::uint64_t datasetsCreated = 0;
  std::uint64_t datasetsDeleted = 0;
  std::uint64_t exportJobsAccepted = 0;
  std::uint64_t segmentJobsAccepted = 0;
  std::uint64_t unfilteredExports = 0;  ///< Exports of every profile: a client must never start one.
  std::uint64_t faultsFired = 0;
  std::map<std::string, std::uint64_t> requests = {};  ///< By method and route.
  std::map<int, std::uint64_t> answers = {};           ///< By status.

  // Counted by whoever carries the answers.
  std::uint64_t bytesServed = 0;      ///< Of all bodies.
  std::uint64_t fileBytesServed = 0;  ///< Of files' contents.
  std::uint64_t connections = 0;
  std::uint64_t handshakes = 0;
  std::uint64_t requestsInFlight = 0;
  std::uint64_t mostInFlight = 0;
};

}  // namespace caiexport::simulator
