/// The thread of a connection: it waits for the socket, and hands on what comes and what goes.

#include "support/http2_connection.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace caiexport::support::http2 {
namespace {

/// What is gathered before it is given to TLS.
constexpr std::size_t kGatheredBytes = std::size_t{64} << 10U;

}  // namespace

std::string textOf(const std::uint8_t* bytes, std::size_t length) {
  return {reinterpret_cast<const char*>(bytes), length};
}

void ended(Http2Connection& seen) {
  seen.open = false;
  seen.streamsOpen = 0;
  seen.stalled = false;
}

Connection::Connection(Shared& shared, Peer& peer) : shared_(shared), peer_(peer) {
  ::fcntl(peer_.descriptor(), F_SETFL, O_NONBLOCK);
  SSL_set_mode(peer_.tls(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  makeSession();
  const std::lock_guard lock(shared_.mutex);
  submitFirstSettings();
  shared_.open.push_back(this);
}

Connection::~Connection() {
  {
    const std::lock_guard lock(shared_.mutex);
    std::erase(shared_.open, this);
  }
  for (auto& [id, stream] : streams_) stream.ended.request_stop();
  workers_.reset();
  nghttp2_session_del(session_);
}

void Connection::run() {
  while (true) {
    waker_.clear();
    runPosted();
    const bool more = gather();
    if (!send()) return;
    if (sent_ == gathered_.size()) {
      if (closing_) return linger();
      if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) {
        SSL_shutdown(peer_.tls());
        return linger();
      }
    }
    noteStall();
    if (!more) wait();
    if (!receive()) return;
  }
}

void Connection::post(Action action) {
  {
    const std::lock_guard lock(postedMutex_);
    posted_.push_back(std::move(action));
  }
  waker_.wake();
}

void Connection::submitSettings(const std::vector<nghttp2_settings_entry>& entries) {
  check(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), entries.size()), "SETTINGS");
}

void Connection::submitPing() {
  check(nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr), "PING");
}

void Connection::submitGoAway(std::uint32_t code, std::optional<std::int32_t> lastStream) {
  goAwayIsOurs_ = true;
  check(nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                              lastStream.value_or(nghttp2_session_get_last_proc_stream_id(session_)), code, nullptr, 0),
        "GOAWAY");
}

void Connection::openWindows() {
  for (auto& [id, stream] : streams_) nghttp2_session_consume_stream(session_, id, std::exchange(stream.kept, 0));
  nghttp2_session_consume_connection(session_, std::exchange(kept_, 0));
}

void Connection::runPosted() {
  std::vector<Action> actions;
  {
    const std::lock_guard lock(postedMutex_);
    actions.swap(posted_);
  }
  for (const Action& action : actions) action(*this);
}

bool Connection::gather() {
  while (!closing_) {
    if (gathered_.size() >= kGatheredBytes) return true;
    const std::uint8_t* bytes = nullptr;
    const ssize_t length = nghttp2_session_mem_send(session_, &bytes);
    if (length <= 0) break;
    gathered_ += textOf(bytes, static_cast<std::size_t>(length));
  }
  return false;
}

bool Connection::send() {
  while (sent_ < gathered_.size()) {
    ERR_clear_error();
    const int bytes = SSL_write(peer_.tls(), gathered_.data() + sent_, static_cast<int>(gathered_.size() - sent_));
    if (bytes <= 0) return wantsToWait(bytes);
    sent_ += static_cast<std::size_t>(bytes);
  }
  gathered_.clear();
  sent_ = 0;
  return true;
}

bool Connection::receive() {
  std::array<std::uint8_t, 16384> piece{};
  while (true) {
    ERR_clear_error();
    const int bytes = SSL_read(peer_.tls(), piece.data(), static_cast<int>(piece.size()));
    if (bytes <= 0) return wantsToWait(bytes);
    const ssize_t taken = nghttp2_session_mem_recv(session_, piece.data(), static_cast<std::size_t>(bytes));
    if (taken < 0) {
      violated(nghttp2_strerror(static_cast<int>(taken)));
      return false;
    }
  }
}

bool Connection::wantsToWait(int result) const {
  const int error = SSL_get_error(peer_.tls(), result);
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

void Connection::wait() const {
  const auto events = static_cast<short>(gathered_.empty() ? POLLIN : POLLIN | POLLOUT);
  std::array<pollfd, 2> sources{{{peer_.descriptor(), events, 0}, {waker_.descriptor(), POLLIN, 0}}};
  ::poll(sources.data(), sources.size(), -1);
}

void Connection::linger() const {
  shared_.change(peer_.number(), ended);
  ::shutdown(peer_.descriptor(), SHUT_WR);
  std::array<char, 4096> dropped{};
  pollfd source{peer_.descriptor(), POLLIN, 0};
  while (::poll(&source, 1, -1) >= 0 || errno == EINTR) {
    const ssize_t bytes = ::recv(peer_.descriptor(), dropped.data(), dropped.size(), 0);
    if (bytes == 0 || (bytes < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}

}  // namespace caiexport::support::http2
