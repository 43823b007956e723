#include "support/http2_server.h"

#include <signal.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <sstream>
#include <stop_token>
#include <string_view>

#include "support/http2_connection.h"

namespace caiexport::support {
namespace {

using http2::Connection;
using http2::Shared;
using net::testing::Peer;
using net::testing::RawServer;

/// Ends a wait that only a broken test needs.
constexpr std::chrono::seconds kPatience{30};

// HTTP/1.1

Http2Request requestFrom(const std::string& message) {
  Http2Request request{.scheme = "https"};
  const std::size_t end = message.find("\r\n\r\n");
  std::istringstream head(message.substr(0, end + 2));
  std::string line;
  head >> request.method >> request.path;
  std::getline(head, line);
  request.headers = fieldsFrom(head);
  request.authority = fieldOf(request.headers, "host").value_or("");
  request.body = message.substr(end + 4);
  return request;
}

/// False if the connection ends behind the answer.
bool sendHttp1(Peer& peer, const Http2Answer& answer, bool withBody, const std::stop_token& stop) {
  if (answer.close) return false;
  if (answer.waitFor != nullptr && !answer.waitAfterBytes && !answer.waitFor->wait(stop)) return false;
  std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " .\r\n";
  for (const auto& [name, value] : answer.headers) head.append(name).append(": ").append(value).append("\r\n");
  const bool hasLength = http2::declaresLength(answer) || fieldOf(answer.headers, "content-length");
  const bool hasEnd = hasLength || answer.status == 204 || answer.status == 304;
  if (http2::declaresLength(answer)) head += "content-length: " + std::to_string(answer.body.size()) + "\r\n";
  if (!hasEnd) head += "connection: close\r\n";
  const std::string body = withBody ? answer.body.substr(0, answer.closeAfterBytes.value_or(answer.body.size())) : "";
  const std::size_t before = answer.waitFor == nullptr ? body.size() : answer.waitAfterBytes.value_or(body.size());
  if (!peer.send(head + "\r\n" + body.substr(0, before))) return false;
  if (before < body.size() && (!answer.waitFor->wait(stop) || !peer.send(body.substr(before)))) return false;
  for (bool isLast = !withBody || !answer.more; !isLast;) {
    const Http2Piece piece = answer.more();
    if (!peer.send(piece.bytes)) return false;
    isLast = piece.isLast;
  }
  return hasEnd && !answer.closeAfterBytes;
}

void serveHttp1(Shared& shared, Peer& peer) {
  const std::stop_token stop = shared.stop.get_token();
  for (std::string message; !(message = peer.readRequest()).empty();) {
    shared.change(peer.number(), [](Http2Connection& seen) { ++seen.requests; });
    Http2Request request = requestFrom(message);
    request.connection = peer.number();
    request.ended = stop;
    try {
      const Http2Answer answer = shared.handler(request);
      if (answer.never) peer.readToEnd();
      if (answer.never || !sendHttp1(peer, answer, request.method != "HEAD", stop)) return;
    } catch (const std::exception&) {
      // The handler has no answer, or not all of it: the client sees the connection end.
      return;
    }
  }
}

// Both

/// OpenSSL writes to a client that is gone as to one that is there.
void blockSigpipe() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

int selectProtocol(SSL*, const unsigned char** chosen, unsigned char* length, const unsigned char* offered,
                   unsigned int offeredLength, void* settings) {
  const Http2Alpn wished = static_cast<const Http2ServerSettings*>(settings)->alpn;
  if (wished == Http2Alpn::silent) return SSL_TLSEXT_ERR_NOACK;
  // In order of preference.
  const std::string known = wished == Http2Alpn::http2 ? "\x02h2\x08http/1.1" : "\x08http/1.1";
  unsigned char* found = nullptr;
  const auto* list = reinterpret_cast<const unsigned char*>(known.data());
  const int result =
      SSL_select_next_proto(&found, length, list, static_cast<unsigned int>(known.size()), offered, offeredLength);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  // It points into either list; `known` is gone after this call.
  const std::string_view name(reinterpret_cast<const char*>(found), *length);
  for (unsigned int at = 0; at < offeredLength; at += 1U + offered[at]) {
    if (std::string_view(reinterpret_cast<const char*>(offered + at + 1), offered[at]) == name)
      *chosen = offered + at + 1;
  }
  return SSL_TLSEXT_ERR_OK;
}

void serve(Shared& shared, Peer& peer) {
  const unsigned char* name = nullptr;
  unsigned int length = 0;
  SSL_get0_alpn_selected(peer.tls(), &name, &length);
  const std::string protocol = length == 0 ? "http/1.1" : http2::textOf(name, length);
  shared.change(peer.number(), [&](Http2Connection& seen) {
    seen.open = true;
    seen.protocol = protocol;
  });
  if (protocol != "h2") {
    serveHttp1(shared, peer);
  } else if (!shared.settings.garbage.empty()) {
    peer.send(shared.settings.garbage);
    peer.readToEnd();
  } else {
    Connection(shared, peer).run();
  }
  shared.change(peer.number(), http2::ended);
}

}  // namespace

std::optional<std::string> fieldOf(const Http2Fields& fields, std::string_view name) {
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const auto& field) { return field.first == name; });
  if (found == fields.end()) return std::nullopt;
  return found->second;
}

Http2Fields fieldsFrom(std::istream& head) {
  Http2Fields fields;
  for (std::string line; std::getline(head, line) && line.size() > 1;) {
    const std::size_t colon = std::min(line.find(':'), line.size() - 1);
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::size_t begin = std::min(line.find_first_not_of(' ', colon + 1), line.size() - 1);
    fields.emplace_back(std::move(name), line.substr(begin, line.size() - 1 - begin));
  }
  return fields;
}

int Http2Report::requests() const {
  int sum = 0;
  for (const Http2Connection& connection : connections) sum += connection.requests;
  return sum;
}

int Http2Report::mostStreamsOpen() const {
  int most = 0;
  for (const Http2Connection& connection : connections) most = std::max(most, connection.mostStreamsOpen);
  return most;
}

int Http2Report::received(const std::string& frameType) const {
  int sum = 0;
  for (const Http2Connection& connection : connections) {
    const auto found = connection.received.find(frameType);
    if (found != connection.received.end()) sum += found->second;
  }
  return sum;
}

std::vector<std::pair<int, std::uint32_t>> Http2Report::resets() const {
  std::vector<std::pair<int, std::uint32_t>> all;
  for (const Http2Connection& connection : connections) {
    all.insert(all.end(), connection.resets.begin(), connection.resets.end());
  }
  return all;
}

std::vector<std::string> Http2Report::violations() const {
  std::vector<std::string> all;
  for (const Http2Connection& connection : connections) {
    all.insert(all.end(), connection.violations.begin(), connection.violations.end());
  }
  return all;
}

struct Http2Server::State {
  State(Handler handler, Http2ServerSettings settings)
      : shared{.handler = std::move(handler), .settings = std::move(settings)},
        listener([this](Peer& peer) { serve(shared, peer); },
                 {.tls = contextFor(shared.settings), .beforeTls = [](Peer&) { blockSigpipe(); }}) {}
  ~State() { shared.stop.request_stop(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  static net::testing::ServerContextPtr contextFor(Http2ServerSettings& settings) {
    net::testing::ServerContextPtr context = settings.tls ? std::move(settings.tls) : net::testing::goodServerContext();
    SSL_CTX_set_alpn_select_cb(context.get(), selectProtocol, &settings);
    return context;
  }

  void onEach(const Connection::Action& action) {
    const std::lock_guard lock(shared.mutex);
    for (Connection* connection : shared.open) connection->post(action);
  }

  Shared shared;
  RawServer listener;
};

Http2Server::Http2Server(Handler handler, Http2ServerSettings settings)
    : state_(std::make_unique<State>(std::move(handler), std::move(settings))) {}

Http2Server::~Http2Server() = default;

std::uint16_t Http2Server::port() const {
  return state_->listener.port();
}

std::string Http2Server::url(const std::string& path, const std::string& host) const {
  return state_->listener.url(path, host);
}

Http2Report Http2Server::report() const {
  const std::lock_guard lock(state_->shared.mutex);
  return state_->shared.report;
}

bool Http2Server::waitUntil(const std::function<bool(const Http2Report&)>& wish) const {
  std::unique_lock lock(state_->shared.mutex);
  return state_->shared.changed.wait_for(lock, kPatience, [&] { return wish(state_->shared.report); });
}

void Http2Server::setMaxStreams(std::uint32_t streams) {
  {
    const std::lock_guard lock(state_->shared.mutex);
    state_->shared.settings.maxStreams = streams;
  }
  state_->onEach([streams](Connection& connection) {
    connection.submitSettings({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams}});
  });
}

void Http2Server::sendPings(int count) {
  state_->onEach([count](Connection& connection) {
    for (int i = 0; i < count; ++i) connection.submitPing();
  });
}

void Http2Server::sendSettings(int count) {
  state_->onEach([count](Connection& connection) {
    for (int i = 0; i < count; ++i) connection.submitSettings({});
  });
}

void Http2Server::sendGoAway(std::uint32_t code, std::optional<std::int32_t> lastStream) {
  state_->onEach([=](Connection& connection) { connection.submitGoAway(code, lastStream); });
}

void Http2Server::sendRaw(const std::string& bytes) {
  state_->onEach([bytes](Connection& connection) { connection.sendRaw(bytes); });
}

void Http2Server::openWindows() {
  state_->onEach([](Connection& connection) { connection.openWindows(); });
}

void Http2Server::closeConnections() {
  state_->onEach([](Connection& connection) { connection.close(); });
}

void Http2Server::stopListening() {
  state_->listener.stopListening();
}

}  // namespace caiexport::support
