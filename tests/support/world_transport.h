#pragma once
/// Connects the client under test to a simulated platform in the same process: no sockets, no waiting.

#include <algorithm>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/net/http.h"
#include "simulator/content.h"
#include "simulator/message.h"
#include "simulator/world.h"

namespace caiexport::support {

/// Thread safe.
class WorldTransport final : public net::HttpTransport {
 public:
  /// Called before a request reaches the platform and after it has been carried out; may throw to crash there.
  using Probe = std::function<void(const std::string& call)>;

  explicit WorldTransport(simulator::World& world, Probe probe = {}) : world_(world), probe_(std::move(probe)) {}

  using net::HttpTransport::send;
  net::HttpResponse send(const net::HttpRequest& request, net::BodySink* sink, std::stop_token stop) override {
    if (stop.stop_requested()) throw core::Interrupted();
    const net::Url url = net::parseUrl(request.url);
    const std::string call = request.method + " " + url.target;
    if (probe_) probe_("before " + call);
    const simulator::Response answer = world_.handle({.method = request.method,
                                                      .target = url.target,
                                                      .headers = headersOf(request, url),
                                                      .body = request.body,
                                                      .scheme = url.origin.scheme});
    if (probe_) probe_("after " + call);
    return deliver(call, answer, sink);
  }

 private:
  static simulator::Headers headersOf(const net::HttpRequest& request, const net::Url& url) {
    simulator::Headers headers = request.headers.all();
    headers.emplace_back("Host", url.origin.toString().substr(url.origin.scheme.size() + 3));
    return headers;
  }

  net::HttpResponse deliver(const std::string& call, const simulator::Response& answer, net::BodySink* sink) {
    const simulator::Transport& way = answer.transport;
    if (way.answerLost || way.stallBeforeHeaders) throwBroken(call);
    net::HttpResponse response{.status = answer.status, .reason = "simulated"};
    for (const auto& [name, value] : answer.headers) response.headers.add(name, value);
    const bool toSink = sink != nullptr && sink->begin(response, answer.bodyBytes());
    const std::uint64_t end = std::min({answer.bodyBytes(), way.endAfterBytes.value_or(answer.bodyBytes()),
                                        way.stallAfterBytes.value_or(answer.bodyBytes())});
    pass(answer, end, toSink ? sink : nullptr, response.body);
    if (end < answer.bodyBytes() || way.truncatedChunked) throwBroken(call);
    return response;
  }

  void pass(const simulator::Response& answer, std::uint64_t end, net::BodySink* sink, std::string& body) {
    std::vector<std::byte> buffer(std::min<std::uint64_t>(end, 1U << 16U));
    for (std::uint64_t at = 0; at < end;) {
      const auto piece = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), end - at));
      if (answer.content) {
        answer.content->read(answer.offsetBytes + at, piece);
      } else {
        std::ranges::copy(std::as_bytes(std::span(answer.body)).subspan(at, piece.size()), piece.begin());
      }
      world_.countServed(answer, piece.size());
      if (sink != nullptr) {
        sink->write(piece);
      } else {
        body.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      }
      at += piece.size();
    }
  }

  [[noreturn]] static void throwBroken(const std::string& call) {
    throw core::TransientError(call + ": the connection broke", {.mayHaveArrived = true});
  }

  simulator::World& world_;
  Probe probe_;
};

}  // namespace caiexport::support
