#pragma once
/// Requests and responses as values, without sockets, and the notations in them.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"
#include "simulator/content.h"

namespace caiexport::simulator {

using Headers = std::vector<std::pair<std::string, std::string>>;

/// The value of the first header of that name, whatever its case; nothing if there is none.
std::optional<std::string_view> headerOf(const Headers& headers, std::string_view name);

struct Request {
  std::string method = "GET";
  std::string target = "/";  ///< Path and query as sent.
  Headers headers = {};
  std::string body = {};
  std::string scheme = "https";  ///< How the request came in; for the links in answers.
};

/// What happens to an answer on its way, beyond what HTTP can say. The server carries it out; whoever calls the world
/// in process reads it here.
struct Transport {
  enum class Ending { normal, close, reset };

  bool answerLost = false;                          ///< Not one byte of the answer is sent.
  std::optional<std::uint64_t> endAfterBytes = {};  ///< The body ends there ...
  Ending ending = Ending::normal;                   ///< ... and so; with answerLost, at once.
  bool stallBeforeHeaders = false;
  std::optional<std::uint64_t> stallAfterBytes = {};       ///< The body stops there ...
  std::optional<std::chrono::milliseconds> stallFor = {};  ///< ... for so long; without it, until the client leaves.
  std::uint64_t bytesPerSecond = 0;                        ///< 0: as fast as it goes.
  std::optional<std::chrono::milliseconds> cutAfter = {};  ///< The connection is closed that long after the request.
  std::uint64_t extraBytes = 0;                            ///< Sent after the promised end.
  bool chunked = false;
  bool truncatedChunked = false;  ///< Closed without the last chunk.
  bool staleKeepAlive = false;    ///< Closed after the answer, which promised otherwise.
  int interimStatus = 0;          ///< An answer like 103, sent before the real one ...
  int interimCount = 1;           ///< ... so often.
};

struct Response {
  int status = 200;
  Headers headers = {};
  std::string body = {};
  ContentPtr content = {};        ///< When set, it is the body, not `body`.
  std::uint64_t offsetBytes = 0;  ///< Where in the content the body begins.
  std::uint64_t lengthBytes = 0;  ///< How much of the content the body is.
  Transport transport = {};

  std::uint64_t bodyBytes() const { return content ? lengthBytes : body.size(); }
  void setHeader(std::string_view name, std::string value);
};

/// The whole body as text, for tests and small answers.
std::string bodyText(const Response& response);

/// A query or a form, in its order, decoded.
class Query {
 public:
  Query() = default;
  /// Empty pieces are skipped, as in `/batches?&dataSet=X` on Adobe's page. Throws std::invalid_argument on a bad
  /// percent code.
  explicit Query(std::string_view encoded);

  std::optional<std::string> get(std::string_view name) const;
  bool has(std::string_view name) const { return get(name).has_value(); }
  const std::vector<std::pair<std::string, std::string>>& pairs() const { return pairs_; }

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

/// Percent codes decoded; `+` is a blank only where `plusIsBlank`. Throws std::invalid_argument.
std::string percentDecode(std::string_view text, bool plusIsBlank);

struct ByteRange {
  std::uint64_t offsetBytes = 0;
  std::uint64_t lengthBytes = 0;
};

enum class RangeKind { whole, part, unsatisfiable };

/// What the Range header of RFC 9110 asks for, as far as a single range goes.
struct RangeAnswer {
  RangeKind kind = RangeKind::whole;
  ByteRange range = {};
};

/// Of a body of `totalBytes`. Several ranges or a bad header count as no header.
RangeAnswer readRange(std::optional<std::string_view> header, std::uint64_t totalBytes);

/// `bytes 0-99/249058`.
std::string contentRange(std::uint64_t offsetBytes, std::uint64_t lengthBytes, std::uint64_t totalBytes);

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
std::string httpDate(core::TimePoint time);

}  // namespace caiexport::simulator
