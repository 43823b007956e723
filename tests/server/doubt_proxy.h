#pragma once
/// Stands between libpq and the server, at a socket of its own, and cuts the line at a chosen moment.

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "support/temp_directory.h"

namespace caiexport::support {

class DoubtProxy {
 public:
  /// What becomes of the next COMMIT.
  enum class Cut { never, beforeCommit, afterCommit };

  DoubtProxy() : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_un name = addressOf(folder());
    ::bind(listener_, reinterpret_cast<const sockaddr*>(&name), sizeof name);
    ::listen(listener_, 8);
    thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }
  ~DoubtProxy() {
    thread_.request_stop();
    thread_.join();
    ::close(listener_);
  }
  DoubtProxy(const DoubtProxy&) = delete;
  DoubtProxy& operator=(const DoubtProxy&) = delete;

  /// For `host=` of an address.
  std::string folder() const { return (folder_ / "").string(); }
  void cutAt(Cut cut) { cut_ = cut; }
  /// From now on nothing comes through any more, and nothing ends.
  void swallow() { swallowing_ = true; }
  int cuts() const { return cuts_; }

 private:
  static sockaddr_un addressOf(const std::string& folder) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::string path = folder + "/.s.PGSQL." + std::getenv("PGPORT");
    std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
    return name;
  }

  void serve(const std::stop_token& stop) {
    std::vector<std::jthread> lines;
    while (!stop.stop_requested()) {
      pollfd waiting{.fd = listener_, .events = POLLIN, .revents = 0};
      if (::poll(&waiting, 1, 50) <= 0) continue;
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_un name = addressOf(std::getenv("PGHOST"));
      ::connect(server, reinterpret_cast<const sockaddr*>(&name), sizeof name);
      lines.emplace_back([this, client, server](const std::stop_token& ended) {
        pass(client, server, ended);
        ::close(client);
        ::close(server);
      });
    }
  }

  void pass(int client, int server, const std::stop_token& stop) {
    bool committing = false;
    while (!stop.stop_requested()) {
      std::array<pollfd, 2> both{pollfd{.fd = client, .events = POLLIN, .revents = 0},
                                 pollfd{.fd = server, .events = POLLIN, .revents = 0}};
      if (::poll(both.data(), both.size(), 50) <= 0) continue;
      if (swallowing_) {
        ::poll(nullptr, 0, 50);
        continue;
      }
      std::array<char, 65536> bytes{};
      if (both[0].revents != 0) {
        const ssize_t count = ::recv(client, bytes.data(), bytes.size(), 0);
        if (count <= 0) return;
        const bool commit =
            std::string_view(bytes.data(), static_cast<std::size_t>(count)).find("COMMIT") != std::string_view::npos;
        if (commit && cutNow(Cut::beforeCommit)) return;
        committing = commit && cutNow(Cut::afterCommit);
        ::send(server, bytes.data(), static_cast<std::size_t>(count), MSG_NOSIGNAL);
      }
      if (both[1].revents != 0) {
        const ssize_t count = ::recv(server, bytes.data(), bytes.size(), 0);
        // It is done, and nobody hears of it.
        if (count <= 0 || committing) return;
        ::send(client, bytes.data(), static_cast<std::size_t>(count), MSG_NOSIGNAL);
      }
    }
  }

  bool cutNow(Cut at) {
    Cut expected = at;
    if (!cut_.compare_exchange_strong(expected, Cut::never)) return false;
    ++cuts_;
    return true;
  }

  TempDirectory folder_;
  int listener_;
  std::atomic<Cut> cut_ = Cut::never;
  std::atomic<int> cuts_ = 0;
  std::atomic<bool> swallowing_ = false;
  std::jthread thread_;
};

}  // namespace caiexport::support
