#include "caiexport/net/poco_transport.h"

#include <Poco/Exception.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"
#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "connect.h"
#include "connection.h"
#include "http2.h"
#include "http_message.h"

namespace caiexport::net {
namespace {

using Kind = AttemptFailure::Kind;

/// RFC 9110, 9.2.2, as far as this program sends them.
bool isIdempotent(const std::string& method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE";
}

void checkScheme(const Origin& origin) {
  if (origin.scheme == "https" || isLoopback(origin.host)) return;
  throw core::Error(core::Category::config, "refused to send anything to " + origin.toString() + " without TLS",
                    {.hint = "use https://; plain http:// is for this machine (localhost, 127.0.0.1, ::1) only"});
}

std::string checkedUserAgent(const std::string& userAgent) {
  HttpRequest probe;
  probe.headers.add("User-Agent", userAgent);
  checkRequest(probe);
  return userAgent;
}

/// One call of send(), over all its attempts.
struct Call {
  const HttpRequest& request;
  Url url;
  std::string origin;  ///< The URL's, as text: the key of connections.
  std::string head;
  const Proxy* proxy;
  bool mayHaveArrived = false;
  std::string ignoredProxy = {};   ///< The variable that names a proxy which is not used.
  const char* connection = "new";  ///< What the latest attempt ran on.
  const char* http = "";           ///< The version that it took; empty where no connection came about.
  std::uint64_t bodyBytes = 0;
};

[[noreturn]] void throwToCaller(const AttemptFailure& failure, const Call& call) {
  std::string message = call.request.method + " " + displayUrl(call.request.url) + ": " + failure.what();
  if (call.proxy != nullptr) message += " (through the proxy " + hostAndPort(call.proxy->host, call.proxy->port) + ")";
  core::Error::Details details{.hint = failure.hint()};
  if (!call.ignoredProxy.empty() && !call.mayHaveArrived) {
    details.hint += (details.hint.empty() ? "" : "; ") + call.ignoredProxy +
                    " is set, but only HTTPS_PROXY (or https_proxy) is used";
  }
  switch (failure.kind()) {
    case Kind::protocol:
      throw core::Error(core::Category::protocol, message, details);
    case Kind::config:
      throw core::Error(core::Category::config, message, details);
    case Kind::exhausted:
      throw core::TooFewDescriptors(message);
    case Kind::transient:
    case Kind::closed:
    case Kind::timedOut:
      break;
  }
  const bool tooSlow = failure.kind() == Kind::timedOut;
  throw core::TransientError(message, {.mayHaveArrived = call.mayHaveArrived, .tooSlow = tooSlow}, details);
}

}  // namespace

class PocoTransport::Implementation {
 public:
  Implementation(TransportSettings settings, const core::KnownSecrets& secrets, core::Log& log)
      : settings_(std::move(settings)),
        userAgent_(checkedUserAgent(settings_.userAgent)),
        secrets_(secrets),
        log_(log),
        proxy_(parseProxy(settings_.proxy.httpsProxy)),
        noProxy_(settings_.proxy.noProxy),
        contexts_(settings_.caFile, settings_.mostUnreadBytes) {
    core::cleanse(settings_.proxy.httpsProxy);
  }

  HttpResponse send(const HttpRequest& request, BodySink* sink, std::stop_token stop) {
    Call call = prepare(request);
    const core::StopSignal signal(std::move(stop));
    signal.check();
    const core::SteadyTime start = std::chrono::steady_clock::now();
    try {
      HttpResponse response = attempt(call, sink, signal);
      logAnswer(call, start, response.status);
      return response;
    } catch (const AttemptFailure& raw) {
      const AttemptFailure failure(raw.kind(), secrets_.without(raw.what()), raw.hint());
      logFailure(call, start, failure.what());
      throwToCaller(failure, call);
    } catch (const Poco::Exception& e) {
      throw core::Error(core::Category::internal,
                        request.method + " " + displayUrl(request.url) + ": " + core::printable(e.displayText(), 200));
    }
  }

  void expect(std::string_view text) noexcept {
    try {
      const Origin origin = parseUrl(text).origin;
      checkScheme(origin);
      ahead_.begin(origin.toString(),
                   [this, origin](const core::StopSignal& stop) { return connect(origin, proxyFor(origin), stop); });
    } catch (const std::exception&) {
      // The request itself says what is wrong.
    }
  }

  void prepareForMany(std::string_view text, unsigned connections) noexcept {
    try {
      const Origin origin = parseUrl(text).origin;
      const std::string key = origin.toString();
      if (origin.scheme != "https" || http2_.isAvoided(key)) return;
      const std::lock_guard lock(preparingMutex_);
      for (unsigned i = 0; i < connections; ++i) {
        http2_.announce(key, 1);
        try {
          preparing_.emplace_back([this, origin, key](std::stop_token stop) { prepare(origin, key, std::move(stop)); });
        } catch (...) {
          http2_.arrived(key);
          throw;
        }
      }
    } catch (const std::exception&) {
      // The requests themselves say what is wrong, or get along with fewer.
    }
  }

  /// The proxy's own; not thread safe, for the constructor.
  template <class Action>
  void forEachSecret(const Action& action) const {
    if (!proxy_) return;
    for (const core::Secret& secret : proxy_->secrets) action(secret.reveal());
  }

  TransportStatistics statistics() const { return {.connectionsOpened = opened_, .requestsSent = sent_}; }

 private:
  Call prepare(const HttpRequest& request) {
    Call call{.request = request, .url = parseUrl(request.url), .origin = {}, .head = {}, .proxy = nullptr};
    checkScheme(call.url.origin);
    call.origin = call.url.origin.toString();
    checkRequest(request);
    call.head = writeHead(request, call.url, userAgent_);
    call.proxy = proxyFor(call.url.origin);
    if (call.url.origin.scheme == "https") call.ignoredProxy = settings_.proxy.ignored;
    return call;
  }

  const Proxy* proxyFor(const Origin& origin) const {
    const bool direct = !proxy_ || origin.scheme != "https" || noProxy_.matches(origin.host, origin.port);
    return direct ? nullptr : &*proxy_;
  }

  HttpResponse attempt(Call& call, BodySink* sink, const core::StopSignal& stop) {
    if (auto response = overHttp2(call, sink, stop)) return *std::move(response);
    if (!call.request.once) {
      call.connection = "reused";
      if (std::unique_ptr<Connection> idle = takeIdle(call.origin)) {
        if (auto response = tryIdle(call, std::move(idle), sink, stop)) return *std::move(response);
      }
      call.connection = "ahead";
      auto ahead = ahead_.take(call.origin, stop.token());
      if (ahead && ahead->isIdle()) {
        if (auto response = tryIdle(call, std::move(ahead), sink, stop)) return *std::move(response);
      }
    }
    call.connection = "new";
    call.http = "";
    auto connection = open(call, stop);
    Exchange exchange(*connection, settings_.readTimeout, secrets_, stop);
    return run(call, exchange, std::move(connection), sink);
  }

  std::unique_ptr<Connection> open(const Call& call, const core::StopSignal& stop, bool offersHttp2 = false) {
    try {
      return connect(call.url.origin, call.proxy, stop, offersHttp2);
    } catch (const AttemptFailure& failure) {
      if (failure.kind() != Kind::exhausted) throw;
    }
    // Those that wait for a next request hold what this one needs.
    pool_.clear();
    http2_.clear();
    return connect(call.url.origin, call.proxy, stop, offersHttp2);
  }

  std::unique_ptr<Connection> connect(const Origin& origin, const Proxy* proxy, const core::StopSignal& stop,
                                      bool offersHttp2 = false) {
    auto connection = Connection::open({origin, proxy, userAgent_, settings_.mostUnreadBytes, offersHttp2}, contexts_,
                                       settings_.connectTimeout, stop);
    ++opened_;
    return connection;
  }

  /// Nothing if the request is to go over HTTP/1.1: it is not of the kind that gains by HTTP/2, or the server does not
  /// speak it, or did not do it well, or closed the connection before any answer came.
  std::optional<HttpResponse> overHttp2(Call& call, BodySink* sink, const core::StopSignal& stop) {
    if (!call.request.oneOfMany || call.url.origin.scheme != "https") return std::nullopt;
    const std::string& origin = call.origin;
    std::unique_ptr<Http2Connection> connection = takeHttp2(origin, call.request.url, stop.token());
    const bool reused = connection != nullptr;
    if (!connection && !http2_.isAvoided(origin)) connection = asHttp2(open(call, stop, true), origin);
    if (!connection) return std::nullopt;
    call.connection = reused ? "reused" : "new";
    call.http = "2";
    call.mayHaveArrived = true;
    const auto count = [&] {
      call.bodyBytes = connection->bodyBytes();
      sent_ += connection->requestsSent();
    };
    try {
      HttpResponse response = connection->run(call.request, call.url, sink, stop);
      count();
      if (connection->isOpen()) http2_.put(origin, std::move(connection), std::chrono::steady_clock::now());
      return response;
    } catch (const AttemptFailure& failure) {
      count();
      const bool untouched = failure.kind() == Kind::closed && !connection->answerBegan();
      // What goes wrong once goes on over HTTP/1.1, which every server and everything on the way knows well.
      if (!reused || !untouched) http2_.avoid(origin);
      if (untouched) return std::nullopt;
      throw;
    }
  }

  void prepare(const Origin& origin, const std::string& key, std::stop_token stop) noexcept {
    try {
      auto connection = asHttp2(connect(origin, proxyFor(origin), core::StopSignal(std::move(stop)), true), key);
      if (connection) http2_.put(key, std::move(connection), std::chrono::steady_clock::now());
    } catch (const std::exception&) {
      // Whoever needs a connection opens one, and is told what is wrong.
    }
    http2_.arrived(key);
  }

  std::unique_ptr<Http2Connection> takeHttp2(const std::string& origin, const std::string& url,
                                             const std::stop_token& stop) {
    while (auto connection = http2_.take(origin, url, std::chrono::steady_clock::now(), stop)) {
      if (connection->isOpen()) return connection;
    }
    return nullptr;
  }

  /// Nothing, and a connection more for HTTP/1.1, if the server chose that.
  std::unique_ptr<Http2Connection> asHttp2(std::unique_ptr<Connection> connection, const std::string& origin) {
    if (connection->speaksHttp2())
      return std::make_unique<Http2Connection>(std::move(connection), userAgent_, settings_.readTimeout, secrets_);
    http2_.avoid(origin);
    pool_.put(origin, std::move(connection), std::chrono::steady_clock::now());
    return nullptr;
  }

  /// Nothing if the connection turned out to be closed before any answer came and the request may be repeated.
  std::optional<HttpResponse> tryIdle(Call& call, std::unique_ptr<Connection> connection, BodySink* sink,
                                      const core::StopSignal& stop) {
    Exchange exchange(*connection, settings_.readTimeout, secrets_, stop);
    try {
      return run(call, exchange, std::move(connection), sink);
    } catch (const AttemptFailure& failure) {
      const bool stale = failure.kind() == Kind::closed && !exchange.answerBegan();
      if (!stale || !isIdempotent(call.request.method)) throw;
      return std::nullopt;
    }
  }

  HttpResponse run(Call& call, Exchange& exchange, std::unique_ptr<Connection> connection, BodySink* sink) {
    call.http = "1.1";
    call.mayHaveArrived = true;
    ++sent_;
    try {
      HttpResponse response = exchange.run(call.request, call.head, sink);
      call.bodyBytes = exchange.bodyBytes();
      if (exchange.reusable()) pool_.put(call.origin, std::move(connection), std::chrono::steady_clock::now());
      return response;
    } catch (...) {
      call.bodyBytes = exchange.bodyBytes();
      throw;
    }
  }

  /// Whether there is a proxy in between follows from the origin, so the origin is the whole key.
  std::unique_ptr<Connection> takeIdle(const std::string& origin) {
    while (auto connection = pool_.take(origin, std::chrono::steady_clock::now())) {
      if (connection->isIdle()) return connection;
    }
    return nullptr;
  }

  static std::int64_t millisecondsSince(core::SteadyTime start) {
    return std::chrono::duration_cast<core::Duration>(std::chrono::steady_clock::now() - start).count();
  }

  void logAnswer(const Call& call, core::SteadyTime start, int status) {
    if (!log_.wants(core::LogLevel::debug)) return;
    log_.write(core::LogLevel::debug, "request",
               {{"method", call.request.method},
                {"url", displayUrl(call.request.url)},
                {"status", status},
                {"ms", millisecondsSince(start)},
                {"bytes", call.bodyBytes},
                {"connection", call.connection},
                {"http", call.http}});
  }

  void logFailure(const Call& call, core::SteadyTime start, const std::string& failure) {
    if (!log_.wants(core::LogLevel::debug)) return;
    log_.write(core::LogLevel::debug, "request",
               {{"method", call.request.method},
                {"url", displayUrl(call.request.url)},
                {"ms", millisecondsSince(start)},
                {"bytes", call.bodyBytes},
                {"connection", call.connection},
                {"http", call.http},
                {"error", failure}});
  }

  TransportSettings settings_;
  const std::string userAgent_;
  const core::KnownSecrets& secrets_;
  core::Log& log_;
  const std::optional<Proxy> proxy_;
  const NoProxy noProxy_;
  TlsContexts contexts_;
  IdlePool<Connection> pool_;
  Http2Pool http2_;
  std::atomic<std::uint64_t> opened_ = 0;
  std::atomic<std::uint64_t> sent_ = 0;
  ConnectionAhead ahead_;  ///< With the next, last: their threads use the others.
  std::mutex preparingMutex_;
  std::vector<std::jthread> preparing_;
};

PocoTransport::PocoTransport(TransportSettings settings, core::Log& log)
    : implementation_(std::make_unique<Implementation>(std::move(settings), secrets(), log)) {
  implementation_->forEachSecret([this](std::string_view secret) { keepSecret(secret); });
}

PocoTransport::~PocoTransport() = default;

void PocoTransport::expect(std::string_view url) noexcept {
  implementation_->expect(url);
}

void PocoTransport::prepareForMany(std::string_view url, unsigned connections) noexcept {
  implementation_->prepareForMany(url, connections);
}

HttpResponse PocoTransport::send(const HttpRequest& request, BodySink* sink, std::stop_token stop) {
  return implementation_->send(request, sink, std::move(stop));
}

TransportStatistics PocoTransport::statistics() const {
  return implementation_->statistics();
}

}  // namespace caiexport::net
