#include "poco_transport_connect.h"

#include <Poco/Net/NetException.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "address.h"
#include "attempt_failure.h"
#include "caiexport/core/error.h"
#include "caiexport/core/memory.h"
#include "caiexport/net/http.h"

namespace caiexport::net {
namespace {

using Kind = AttemptFailure::Kind;
using Poco::Net::SocketAddress;
using Poco::Net::StreamSocket;

/// Shared with the thread that looks up, which may outlive the wait.
struct LookUpResult {
  std::mutex mutex;
  std::condition_variable_any changed;
  bool done = false;
  int error = 0;
  int systemError = 0;
  std::vector<sockaddr_storage> addresses;
};

// getaddrinfo rather than Poco::Net::DNS, which sorts the addresses and so undoes the system's order of preference
// (RFC 6724) and a server's round robin.
void lookUpInto(LookUpResult& result, const std::string& host, std::uint16_t port) try {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  errno = 0;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  const int systemError = errno;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(list, list != nullptr ? ::freeaddrinfo : nullptr);
  const std::lock_guard lock(result.mutex);
  result.error = error;
  result.systemError = systemError;
  for (const addrinfo* item = list; item != nullptr; item = item->ai_next) {
    if (item->ai_family != AF_INET && item->ai_family != AF_INET6) continue;
    sockaddr_storage address{};
    std::memcpy(&address, item->ai_addr, item->ai_addrlen);
    result.addresses.push_back(address);
  }
  result.done = true;
  result.changed.notify_all();
} catch (const std::bad_alloc&) {
  // Nobody stands above: it may have a thread of its own.
  const std::lock_guard lock(result.mutex);
  result.error = EAI_MEMORY;
  result.done = true;
  result.changed.notify_all();
}

/// On a thread of its own, since nothing can interrupt getaddrinfo.
void lookUpOnThread(const std::shared_ptr<LookUpResult>& result, const std::string& host, std::uint16_t port) {
  try {
    std::thread([result, host, port] { lookUpInto(*result, host, port); }).detach();
  } catch (const std::system_error& e) {
    throw core::Error(core::Category::io, std::string("cannot start a thread for the name look-up: ") + e.what(),
                      {.hint = "raise the limits (ulimit -u, ulimit -v), or close other programs"});
  }
}

std::vector<SocketAddress> toPoco(const std::vector<sockaddr_storage>& addresses, bool onlyLoopback) {
  std::vector<SocketAddress> converted;
  for (const sockaddr_storage& address : addresses) {
    const auto length =
        static_cast<socklen_t>(address.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
    const SocketAddress candidate(reinterpret_cast<const sockaddr*>(&address), length);
    // RFC 6761: "localhost" is this machine whatever a name server says.
    if (!onlyLoopback || candidate.host().isLoopback()) converted.push_back(candidate);
  }
  return converted;
}

AttemptFailure tooFewDescriptors(int error) {
  return {Kind::exhausted, "cannot connect: " + std::generic_category().message(error)};
}

StreamSocket connectOne(const SocketAddress& address, core::SteadyTime until, const StopSignal& stop) {
  StreamSocket socket;
  try {
    socket.connectNB(address);
    ::fcntl(socket.impl()->sockfd(), F_SETFD, FD_CLOEXEC);
    if (!waitFor(socket.impl()->sockfd(), POLLOUT, until, stop)) throw AttemptFailure(Kind::transient, "timed out");
    const int error = socket.impl()->socketError();
    if (error != 0) throw AttemptFailure(Kind::transient, std::generic_category().message(error));
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
  } catch (const Poco::Exception& e) {
    if (e.code() == EMFILE || e.code() == ENFILE) throw tooFewDescriptors(e.code());
    throw AttemptFailure(Kind::transient, e.code() != 0 ? std::generic_category().message(e.code()) : e.displayText());
  }
  return socket;
}

std::string lowerFirst(std::string text) {
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
  return text;
}

}  // namespace

std::vector<SocketAddress> lookUp(const std::string& host, std::uint16_t port, core::Duration limit,
                                  const StopSignal& stop) {
  const auto result = std::make_shared<LookUpResult>();
  if (isAddress(host)) {
    lookUpInto(*result, host, port);
  } else {
    lookUpOnThread(result, host, port);
  }
  std::unique_lock lock(result->mutex);
  const bool done = result->changed.wait_for(lock, stop.token(), limit, [&] { return result->done; });
  stop.check();
  if (result->error == EAI_SYSTEM && (result->systemError == EMFILE || result->systemError == ENFILE)) {
    throw tooFewDescriptors(result->systemError);
  }
  if (result->error == EAI_MEMORY) {
    throw core::outOfMemory("cannot look up " + host + ": out of memory");
  }
  const std::string hint = "check the host in the URL, the network and the name server";
  if (!done) throw AttemptFailure(Kind::transient, "the look-up of " + host + " timed out", hint);
  if (result->error != 0) {
    throw AttemptFailure(Kind::transient, "cannot look up " + host + ": " + lowerFirst(::gai_strerror(result->error)),
                         hint);
  }
  std::vector<SocketAddress> addresses = toPoco(result->addresses, isLoopback(host));
  if (addresses.empty()) throw AttemptFailure(Kind::transient, host + " has no address that can be used", hint);
  return addresses;
}

StreamSocket connectTcp(const std::vector<SocketAddress>& addresses, core::SteadyTime until, const StopSignal& stop) {
  std::string reasons;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const auto now = std::chrono::steady_clock::now();
    const auto share =
        std::max(until - now, core::SteadyTime::duration::zero()) / static_cast<long>(addresses.size() - i);
    try {
      return connectOne(addresses[i], now + share, stop);
    } catch (const AttemptFailure& failure) {
      if (failure.kind() == Kind::exhausted) throw;
      reasons += (reasons.empty() ? "" : "; ") + lowerFirst(failure.what()) + " (" + addresses[i].toString() + ")";
    }
  }
  throw AttemptFailure(Kind::transient, "cannot connect: " + reasons,
                       "check the network, a firewall, and whether a proxy (HTTPS_PROXY) is needed");
}

}  // namespace caiexport::net
