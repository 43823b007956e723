#include "simulator/response_writer.h"

#include <Poco/Exception.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SocketImpl.h>
#include <Poco/Timespan.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>
#include <vector>

#include "simulator/world.h"

namespace caiexport::simulator {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kPieceBytes = std::size_t{256} << 10U;
/// A piece up to this size is copied to go out in one packet with the head.
constexpr std::size_t kJoinedBytes = std::size_t{16} << 10U;

bool hasBody(int status) {
  return status >= 200 && status != 204 && status != 304;
}

std::string statusLine(int status) {
  const auto reason =
      Poco::Net::HTTPResponse::getReasonForStatus(static_cast<Poco::Net::HTTPResponse::HTTPStatus>(status));
  return "HTTP/1.1 " + std::to_string(status) + " " + reason + "\r\n";
}

bool isChunked(const Transport& transport) {
  return transport.chunked || transport.truncatedChunked;
}

/// Where the body as the client gets it ends.
std::uint64_t lastByte(const Response& response) {
  return std::min(response.bodyBytes(), response.transport.endAfterBytes.value_or(UINT64_MAX));
}

/// The size of the next piece: not beyond the point where something is to happen, and small enough for a slow pace.
std::size_t nextPiece(const Response& response, std::uint64_t sent) {
  const Transport& transport = response.transport;
  std::uint64_t length = std::min<std::uint64_t>(kPieceBytes, lastByte(response) - sent);
  if (transport.stallAfterBytes && sent < *transport.stallAfterBytes) {
    length = std::min(length, *transport.stallAfterBytes - sent);
  }
  if (transport.bytesPerSecond > 0) {
    length = std::min(length, std::max<std::uint64_t>(1, transport.bytesPerSecond / 50));
  }
  return length;
}

}  // namespace

bool ResponseWriter::write(const Response& response, bool headOnly, bool keepAlive) {
  const Transport& transport = response.transport;
  if (transport.stallBeforeHeaders && !stall(transport)) return false;
  if (transport.answerLost) {
    end(transport.ending);
    return false;
  }
  const bool again = keepAlive && transport.extraBytes == 0 && !transport.truncatedChunked;
  writeHead(response, again);
  const bool complete = headOnly || !hasBody(response.status) || writeBody(response);
  flush();
  return complete && again && !transport.staleKeepAlive;
}

void ResponseWriter::writeHead(const Response& response, bool keepAlive) {
  const Transport& transport = response.transport;
  std::string head;
  for (int count = 0; transport.interimStatus != 0 && count < transport.interimCount; ++count) {
    head += statusLine(transport.interimStatus);
    head += "\r\n";
  }
  head += statusLine(response.status);
  for (const auto& [name, value] : response.headers) head.append(name).append(": ").append(value).append("\r\n");
  if (isChunked(transport)) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (hasBody(response.status) && !headerOf(response.headers, "Content-Length")) {
    head += "Content-Length: " + std::to_string(response.bodyBytes()) + "\r\n";
  }
  head += keepAlive ? "Connection: Keep-Alive\r\n\r\n" : "Connection: close\r\n\r\n";
  pending_ = std::move(head);
}

bool ResponseWriter::writeBody(const Response& response) {
  const Transport& transport = response.transport;
  const bool chunked = isChunked(transport);
  std::vector<std::byte> buffer;
  std::uint64_t sent = 0;
  while (true) {
    if (transport.stallAfterBytes == sent && !stall(transport)) return false;
    const std::size_t length = nextPiece(response, sent);
    if (length == 0) break;
    limitSending(transport);
    if (response.content) {
      buffer.resize(length);
      response.content->read(response.offsetBytes + sent, buffer);
      sendPiece(buffer, chunked);
    } else {
      sendPiece(std::as_bytes(std::span(response.body).subspan(sent, length)), chunked);
    }
    sent += length;
    world_.countServed(response, length);
    if (!pace(transport, sent)) {
      end(Transport::Ending::close);
      return false;
    }
  }
  if (transport.endAfterBytes || transport.truncatedChunked) {
    end(transport.ending == Transport::Ending::normal ? Transport::Ending::close : transport.ending);
    return false;
  }
  flush();
  if (chunked) send(std::string_view("0\r\n\r\n"));
  sendExtra(transport.extraBytes);
  return true;
}

/// A client that reads slowly does not put off the cut.
void ResponseWriter::limitSending(const Transport& transport) {
  if (transport.cutAfter) {
    const auto left =
        *transport.cutAfter - std::chrono::duration_cast<milliseconds>(core::systemClock().steadyNow() - begun_);
    socket_.setSendTimeout(Poco::Timespan(std::max<std::int64_t>(1, left.count()) * 1000));
  }
}

/// Waits as long as the pace wants it. False when the connection's time is over.
bool ResponseWriter::pace(const Transport& transport, std::uint64_t sent) {
  core::Clock& clock = core::systemClock();
  const auto elapsed = [&] { return std::chrono::duration_cast<milliseconds>(clock.steadyNow() - begun_); };
  if (transport.bytesPerSecond > 0) {
    const milliseconds due(sent * 1000 / transport.bytesPerSecond);
    milliseconds wait = std::max(milliseconds(0), due - elapsed());
    if (transport.cutAfter) wait = std::min(wait, std::max(milliseconds(0), *transport.cutAfter - elapsed()));
    if (wait.count() > 0 && !clock.sleep(wait, stop_)) return false;
  }
  return !transport.cutAfter || elapsed() < *transport.cutAfter;
}

/// Sends nothing until the time is over (true), or the client leaves or the server stops (false).
bool ResponseWriter::stall(const Transport& transport) {
  flush();
  core::Clock& clock = core::systemClock();
  const core::SteadyTime from = clock.steadyNow();
  const auto over = [&](std::optional<milliseconds> limit, core::SteadyTime since) {
    return limit && clock.steadyNow() - since >= *limit;
  };
  while (!stop_.stop_requested()) {
    if (over(transport.stallFor, from)) return true;
    if (over(transport.cutAfter, begun_)) {
      end(Transport::Ending::close);
      return false;
    }
    pollfd watched{.fd = socket_.impl()->sockfd(), .events = POLLRDHUP, .revents = 0};
    if (::poll(&watched, 1, 20) > 0) return false;
  }
  return false;
}

void ResponseWriter::flush() {
  const std::string out = std::exchange(pending_, {});
  send(out);
}

void ResponseWriter::sendPiece(std::span<const std::byte> piece, bool chunked) {
  if (!chunked && piece.size() <= kJoinedBytes && !pending_.empty()) {
    pending_.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    flush();
    return;
  }
  flush();
  if (!chunked) {
    send(piece);
    return;
  }
  std::array<char, 24> size{};
  std::snprintf(size.data(), size.size(), "%zx\r\n", piece.size());
  send(std::string_view(size.data()));
  send(piece);
  send(std::string_view("\r\n"));
}

void ResponseWriter::send(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const int length = static_cast<int>(std::min<std::size_t>(bytes.size(), kPieceBytes));
    const int sent = socket_.sendBytes(bytes.data(), length);
    // Over TLS a failure may come as a negative number instead of an exception (pocoproject/poco issue 3790).
    if (sent <= 0) throw Poco::Net::NetException("the client has gone");
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
}

void ResponseWriter::sendExtra(std::uint64_t bytes) {
  if (bytes > 0) send(std::string(bytes, 'x'));
}

void ResponseWriter::end(Transport::Ending ending) {
  flush();
  if (ending != Transport::Ending::reset) {
    socket_.shutdown();
    return;
  }
  // The socket must be closed with unread lingering data dropped, and without TLS's farewell. Poco sends that farewell
  // when it closes, so the descriptor is pointed elsewhere first.
  socket_.setLinger(true, 0);
  const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nowhere >= 0) {
    ::dup2(nowhere, socket_.impl()->sockfd());
    ::close(nowhere);
  }
}

}  // namespace caiexport::simulator
