#pragma once
/// Connections that wait for their next request.

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"

namespace caiexport::net {

/// Thread safe. The connection that was used last is given out first: it is the least likely to be closed already, and
/// the others can grow old and go.
template <class Connection>
class IdlePool {
 public:
  struct Limits {
    std::size_t mostPerKey = 64;
    /// Below the 60 s after which common load balancers close an idle connection.
    core::Duration longestIdle = std::chrono::seconds(50);
  };

  IdlePool() : IdlePool(Limits{}) {}
  explicit IdlePool(Limits limits) : limits_(limits) {}

  /// Nothing if none is there. Whether it still works is for the caller to find out.
  std::unique_ptr<Connection> take(const std::string& key, core::SteadyTime now) {
    std::vector<Entry> dropped;  // Destroyed, which may do I/O, after the lock is gone.
    const std::lock_guard lock(mutex_);
    std::vector<Entry>& idle = idle_[key];
    dropExpired(idle, now, dropped);
    if (idle.empty()) return nullptr;
    std::unique_ptr<Connection> connection = std::move(idle.back().connection);
    idle.pop_back();
    return connection;
  }

  void put(const std::string& key, std::unique_ptr<Connection> connection, core::SteadyTime now) {
    std::vector<Entry> dropped;
    const std::lock_guard lock(mutex_);
    for (auto& [otherKey, idle] : idle_) dropExpired(idle, now, dropped);
    std::vector<Entry>& idle = idle_[key];
    if (idle.size() >= limits_.mostPerKey) {
      dropped.push_back(std::move(idle.front()));
      idle.erase(idle.begin());
    }
    idle.push_back({std::move(connection), now});
  }

  void clear() {
    std::map<std::string, std::vector<Entry>> dropped;
    const std::lock_guard lock(mutex_);
    dropped.swap(idle_);
  }

 private:
  struct Entry {
    std::unique_ptr<Connection> connection;
    core::SteadyTime since;
  };

  void dropExpired(std::vector<Entry>& idle, core::SteadyTime now, std::vector<Entry>& dropped) {
    auto fresh = idle.begin();  // Oldest first.
    while (fresh != idle.end() && now - fresh->since >= limits_.longestIdle) ++fresh;
    std::move(idle.begin(), fresh, std::back_inserter(dropped));
    idle.erase(idle.begin(), fresh);
  }

  const Limits limits_;
  std::mutex mutex_;
  std::map<std::string, std::vector<Entry>> idle_;
};

}  // namespace caiexport::net
