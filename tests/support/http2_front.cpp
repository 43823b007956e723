// Stands before a server of HTTP/1.1 and speaks HTTP/2 over TLS to its clients, so that tests of the whole program
// reach the simulator by either protocol.
#include <Poco/Exception.h>
#include <Poco/Net/SocketAddress.h>
#include <Poco/Net/StreamSocket.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>

#include "support/http2_server.h"

namespace caiexport::support {
namespace {

constexpr const char* kUsage =
    "usage: caiexport-http2-front --to PORT --certificate FILE --key FILE [--max-streams N]\n"
    "\n"
    "Takes HTTP/2 (and HTTP/1.1) over TLS on a free port of 127.0.0.1, which it prints, and passes each request on as\n"
    "HTTP/1.1 to PORT there, on a connection of its own, with `X-Forwarded-Proto: https`. On SIGTERM or SIGINT it "
    "prints\n"
    "what it saw and ends.\n";

/// Fields that are about a connection (RFC 9110, 7.6.1), which ends here.
bool isAboutConnection(const std::string& name) {
  static const std::set<std::string> kNames{"connection", "keep-alive",        "proxy-connection", "te",
                                            "trailer",    "transfer-encoding", "upgrade",          "host"};
  return kNames.count(name) > 0;
}

/// One request to the server behind, and its answer.
class Upstream {
 public:
  /// Ends as soon as nobody waits for the answer any more.
  Upstream(std::uint16_t port, const Http2Request& request)
      : socket_(Poco::Net::SocketAddress("127.0.0.1", port)),
        isHead_(request.method == "HEAD"),
        onEnd_(request.ended, Shutdown{socket_}) {
    std::string message = request.method + " " + request.path + " HTTP/1.1\r\nHost: " + request.authority +
                          "\r\nConnection: close\r\nX-Forwarded-Proto: https\r\n";
    for (const auto& [name, value] : request.headers) {
      if (!isAboutConnection(name)) message.append(name).append(": ").append(value).append("\r\n");
    }
    if (!request.body.empty() && !fieldOf(request.headers, "content-length")) {
      message += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
    }
    message += "\r\n" + request.body;
    for (std::size_t sent = 0; sent < message.size();) {
      sent += static_cast<std::size_t>(
          std::max(0, socket_.sendBytes(message.data() + sent, static_cast<int>(message.size() - sent))));
    }
  }

  /// Status and fields; interim statuses go into the answer as well.
  Http2Answer head() {
    Http2Answer answer;
    while (true) {
      std::istringstream text(readHead());
      std::string version;
      if (!(text >> version >> answer.status)) throw std::runtime_error("no status");
      std::string line;
      std::getline(text, line);
      const Http2Fields fields = fieldsFrom(text);
      if (answer.status < 200) {
        answer.informational.push_back(answer.status);
        continue;
      }
      for (const auto& field : fields) {
        if (!isAboutConnection(field.first)) answer.headers.push_back(field);
      }
      const auto length = fieldOf(fields, "content-length");
      if (isHead_ || answer.status == 204 || answer.status == 304) {
        left_ = 0;
      } else if (fieldOf(fields, "transfer-encoding")) {
        framing_ = Framing::chunked;
      } else if (length) {
        left_ = std::stoull(*length);
      } else {
        framing_ = Framing::untilClosed;
      }
      return answer;
    }
  }

  /// The next bytes of the body. Throws when the connection ends too early.
  Http2Piece more() {
    if (framing_ == Framing::untilClosed) {
      if (received_.empty() && !receive()) return {.bytes = "", .isLast = true};
      return {.bytes = std::exchange(received_, {})};
    }
    if (framing_ == Framing::chunked && left_ == 0) left_ = std::stoull(readLine(), nullptr, 16);
    if (left_ == 0) return {.bytes = "", .isLast = true};
    if (received_.empty()) need();
    Http2Piece piece{.bytes = received_.substr(0, std::min<std::uint64_t>(left_, received_.size()))};
    received_.erase(0, piece.bytes.size());
    left_ -= piece.bytes.size();
    if (framing_ == Framing::chunked && left_ == 0) readLine();
    piece.isLast = framing_ == Framing::length && left_ == 0;
    return piece;
  }

 private:
  enum class Framing { length, chunked, untilClosed };
  struct Shutdown {
    Poco::Net::StreamSocket& socket;
    void operator()() const {
      try {
        socket.shutdown();
      } catch (const Poco::Exception&) {
        // It is closed already.
      }
    }
  };

  bool receive() {
    std::array<char, 65536> piece{};
    const int bytes = socket_.receiveBytes(piece.data(), static_cast<int>(piece.size()));
    if (bytes > 0) received_.append(piece.data(), static_cast<std::size_t>(bytes));
    return bytes > 0;
  }
  void need() {
    if (!receive()) throw std::runtime_error("the connection ended too early");
  }
  std::string readUpTo(const std::string& mark) {
    std::size_t end = 0;
    while ((end = received_.find(mark)) == std::string::npos) need();
    std::string text = received_.substr(0, end + mark.size());
    received_.erase(0, text.size());
    return text;
  }
  std::string readHead() { return readUpTo("\r\n\r\n"); }
  std::string readLine() { return readUpTo("\r\n"); }

  Poco::Net::StreamSocket socket_;
  bool isHead_;
  std::string received_;
  Framing framing_ = Framing::length;
  std::uint64_t left_ = 0;
  std::stop_callback<Shutdown> onEnd_;
};

/// Without an answer from behind the stream is reset: HTTP/2's way to say that a connection broke.
Http2Answer passOn(std::uint16_t port, const Http2Request& request) {
  try {
    const auto upstream = std::make_shared<Upstream>(port, request);
    Http2Answer answer = upstream->head();
    answer.more = [upstream] { return upstream->more(); };
    return answer;
  } catch (const std::exception&) {
    return {.resetCode = NGHTTP2_INTERNAL_ERROR, .close = request.stream == 0};
  }
}

std::map<std::string, std::string> optionsFrom(std::span<char*> words) {
  static const std::set<std::string> kNames{"--to", "--certificate", "--key", "--max-streams"};
  std::map<std::string, std::string> options;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    if (kNames.count(words[i]) == 0 || i + 1 == words.size()) {
      throw std::invalid_argument(std::string(words[i]) + " is no option, or has no value");
    }
    options[words[i]] = words[i + 1];
  }
  for (const char* needed : {"--to", "--certificate", "--key"}) {
    if (options.count(needed) == 0) throw std::invalid_argument(std::string(needed) + " is missing");
  }
  return options;
}

net::testing::ServerContextPtr contextFrom(const std::string& certificate, const std::string& key) {
  net::testing::ServerContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1) {
    throw std::invalid_argument("cannot take certificate and key from " + certificate + " and " + key);
  }
  return context;
}

void print(const Http2Report& report) {
  const auto overHttp2 = std::count_if(report.connections.begin(), report.connections.end(),
                                       [](const Http2Connection& connection) { return connection.protocol == "h2"; });
  std::cout << "connections: " << report.connections.size() << "\nof HTTP/2: " << overHttp2
            << "\nrequests: " << report.requests() << "\nmost streams at a time: " << report.mostStreamsOpen()
            << "\nstreams reset by clients: " << report.resets().size() << '\n';
  for (const std::string& violation : report.violations()) std::cout << "violation: " << violation << '\n';
}

int run(std::span<char*> words) {
  const auto options = optionsFrom(words);
  const auto to = static_cast<std::uint16_t>(std::stoul(options.at("--to")));
  Http2ServerSettings settings;
  settings.tls = contextFrom(options.at("--certificate"), options.at("--key"));
  if (const auto streams = options.find("--max-streams"); streams != options.end()) {
    settings.maxStreams = static_cast<std::uint32_t>(std::stoul(streams->second));
  }
  // Before there are threads, which inherit it.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  const Http2Server server([to](const Http2Request& request) { return passOn(to, request); }, std::move(settings));
  std::cout << server.port() << std::endl;
  int signal = 0;
  ::sigwait(&ends, &signal);
  print(server.report());
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace caiexport::support

int main(int count, char** words) {
  try {
    return caiexport::support::run(std::span(words, static_cast<std::size_t>(count)).subspan(1));
  } catch (const std::exception& e) {
    std::cerr << "caiexport-http2-front: " << e.what() << "\n\n" << caiexport::support::kUsage;
    return 2;
  }
}
