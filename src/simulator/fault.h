#pragma once
/// Faults as data: which requests they meet, how often, and what happens to the answer.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"
#include "simulator/json.h"
#include "simulator/message.h"

namespace Poco {
class RegularExpression;
}

namespace caiexport::simulator {

/// What a list does wrong; read by the services while they answer.
struct ListHints {
  bool loopNext = false;        ///< The next link leads to the same page.
  bool emptyWithNext = false;   ///< No entries, but a next link.
  bool repeatPage = false;      ///< The first page again, whatever was asked for.
  std::int64_t shiftStart = 0;  ///< Entries came or went since the last page: the page begins that much later.
};

struct FaultAction {
  std::optional<int> status = {};
  Headers headers = {};
  std::optional<std::string> body = {};
  std::string retryAfter = {};  ///< `5`, or `date+5` for an HTTP date so many seconds from now.
  std::uint64_t hugeJsonBytes = 0;
  std::uint64_t deepJsonLevels = 0;
  bool ignoreRange = false;
  std::int64_t rangeShift = 0;
  std::uint64_t rangeShorter = 0;
  ListHints list = {};
  Transport transport = {};
  std::optional<bool> carryOut = {};  ///< Whether the platform does what it was asked for.

  /// Whether the request reaches the platform at all.
  bool reachesPlatform() const;
};

/// A regular expression (PCRE's syntax).
class Pattern {
 public:
  /// Matches anything.
  Pattern() = default;
  /// Throws std::invalid_argument for what is no regular expression.
  explicit Pattern(const std::string& expression);

  /// Whether a part of the text matches.
  bool occursIn(const std::string& text) const;

 private:
  std::shared_ptr<const Poco::RegularExpression> compiled_;
};

struct FaultRule {
  std::string method = {};  ///< Any, if empty.
  std::string path = {};    ///< For the record; `pattern` is what counts.
  Pattern pattern = {};     ///< Searched in path and query as sent.
  std::string header = {};  ///< Only requests that have this header.
  std::uint64_t skip = 0;
  std::uint64_t every = 1;
  std::optional<std::uint64_t> times = 1;  ///< Nothing: without end.
  FaultAction action = {};

  std::uint64_t seen = 0;
  std::uint64_t fired = 0;
};

/// core::Error(usage) with the reason.
FaultRule parseFaultRule(const Json& json);

/// The first rule that matches and is due; it counts as fired. Null if there is none. A rule counts the requests that
/// no earlier rule took.
const FaultAction* pickFault(std::vector<FaultRule>& rules, const Request& request);

/// The answer of a fault that keeps the request from the platform.
Response faultAnswer(const FaultAction& action, const Request& request, core::TimePoint now);
/// Does to a real answer what the fault says.
void distort(const FaultAction& action, const Request& request, core::TimePoint now, Response& response);

}  // namespace caiexport::simulator
