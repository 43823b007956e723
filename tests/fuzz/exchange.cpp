/// All that a server may send over a connection before it closes it, interim answers and body included: what a sink
/// takes and what is kept in memory is the same.

#include <Poco/Net/StreamSocket.h>
#include <Poco/Net/StreamSocketImpl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string>

#include "fuzz/target.h"
#include "net/connect.h"
#include "net/connection.h"
#include "net/http_message.h"

using namespace caiexport;

namespace {

struct Collected final : net::BodySink {
  bool begin(const net::HttpResponse& head, std::optional<std::uint64_t>) override {
    status = head.status;
    return true;
  }
  void write(std::span<const std::byte> data) override {
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
  }
  int status = 0;
  std::string body = {};
};

struct Outcome {
  bool refused = false;
  bool reusable = false;
  int status = 0;
  std::string body = {};
};

/// A pair of sockets holds the whole answer before it is asked for: no thread, no waiting.
Outcome outcomeOf(std::string_view answer, const std::string& method, Collected* sink) {
  std::array<int, 2> ends{};
  fuzz::require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0, "no pair of sockets");
  Poco::Net::StreamSocket socket(new Poco::Net::StreamSocketImpl(ends[0]));
  socket.setBlocking(false);
  net::Connection connection(socket);
  const auto sent = ::send(ends[1], answer.data(), answer.size(), MSG_NOSIGNAL);
  fuzz::require(sent == static_cast<ssize_t>(answer.size()), "the answer does not fit into the socket");
  ::shutdown(ends[1], SHUT_WR);

  net::HttpRequest request;
  request.method = method;
  const core::StopSignal stop{std::stop_token()};
  const core::KnownSecrets secrets;
  net::Exchange exchange(connection, std::chrono::seconds(5), secrets, stop);
  Outcome outcome;
  try {
    const net::HttpResponse response = exchange.run(request, method + " / HTTP/1.1\r\n\r\n", sink);
    outcome = {.reusable = exchange.reusable(), .status = response.status, .body = response.body};
  } catch (const net::AttemptFailure&) {
    outcome.refused = true;
  }
  ::close(ends[1]);
  fuzz::require(exchange.bodyBytes() <= answer.size(), "more body than was sent");
  return outcome;
}

}  // namespace

CAIEXPORT_FUZZ_TARGET(exchange) {
  // What a socket holds for certain.
  const std::string_view answer = input.substr(0, 64U << 10U);
  const Outcome kept = outcomeOf(answer, "GET", nullptr);
  Collected sink;
  const Outcome taken = outcomeOf(answer, "GET", &sink);
  fuzz::require(kept.refused == taken.refused, "a sink changes what is refused");
  const Outcome head = outcomeOf(answer, "HEAD", nullptr);
  fuzz::require(head.body.empty(), "an answer to HEAD has a body");
  if (kept.refused) return;
  fuzz::require(kept.status >= 200 && kept.status <= 999, "an interim answer counts as final");
  fuzz::require(kept.status == taken.status && kept.status == sink.status, "a sink changes the status");
  fuzz::require(taken.body.empty() && kept.body == sink.body, "a sink changes the body");
  fuzz::require(kept.reusable == taken.reusable, "a sink changes whether the connection is kept");
}
