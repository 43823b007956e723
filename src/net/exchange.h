#pragma once
/// One request and its answer on an open connection.

#include <cstdint>
#include <string_view>

#include "caiexport/core/clock.h"
#include "caiexport/net/http.h"

namespace caiexport::net {

class Connection;
class StopSignal;

/// For one use. Failures are AttemptFailure, core::Interrupted after a stop request, and whatever a sink throws; the
/// connection is of no further use then.
class Exchange {
 public:
  Exchange(Connection& connection, core::Duration readTimeout, const core::KnownSecrets& secrets,
           const StopSignal& stop)
      : connection_(connection), readTimeout_(readTimeout), secrets_(secrets), stop_(stop) {}

  /// `head` as writeHead() made it. The sink may be null.
  HttpResponse run(const HttpRequest& request, std::string_view head, BodySink* sink);

  /// Whether any byte of an answer came, also after a failure.
  bool answerBegan() const { return answerBegan_; }
  std::uint64_t bodyBytes() const { return bodyBytes_; }
  /// After success: whether the connection may carry another request.
  bool reusable() const { return reusable_; }

 private:
  Connection& connection_;
  const core::Duration readTimeout_;
  const core::KnownSecrets& secrets_;
  const StopSignal& stop_;
  bool answerBegan_ = false;
  bool reusable_ = false;
  std::uint64_t bodyBytes_ = 0;
};

}  // namespace caiexport::net
