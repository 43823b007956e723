#include "caiexport/store/leases.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <utility>

#include "caiexport/core/clock.h"
#include "caiexport/core/text.h"
#include "caiexport/store/database.h"
#include "query.h"
#include "rows.h"

namespace caiexport::store {
namespace {

using std::chrono::milliseconds;

const std::string kNow(kServerNow);

std::string hostName() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "?";
  return core::printable(name.data(), 60);
}

/// How much of a lease is left when it is renewed: two thirds.
core::Duration between(core::Duration lease) {
  return std::max(core::Duration(lease / 3), core::Duration(50));
}

}  // namespace

/// Renews the worker's row.
class Leases::Heart {
 public:
  Heart(const Location& location, std::int64_t worker, core::SteadyTime since, std::stop_source lost, Postgres& main)
      : location_(location),
        worker_(worker),
        renewed_(since),
        lost_(std::move(lost)),
        main_(main),
        thread_([this](const std::stop_token& stop) { beat(stop); }) {}

 private:
  void beat(const std::stop_token& stop) {
    core::Clock& clock = core::systemClock();
    core::Duration pause = between(location_.lease);
    while (clock.sleep(pause, stop)) {
      const core::SteadyTime asked = clock.steadyNow();
      switch (renew()) {
        case Renewed::yes:
          renewed_ = asked;
          pause = between(location_.lease);
          continue;
        case Renewed::unknown:
          // Soon again, as long as it may be ours.
          pause = std::min(between(location_.lease), core::Duration(250));
          if (clock.steadyNow() - renewed_ < location_.lease) continue;
          break;
        case Renewed::no:
          break;
      }
      main_.loseLease();
      lost_.request_stop();
      return;
    }
  }

  enum class Renewed { yes, no, unknown };
  Renewed renew() noexcept {
    try {
      if (!server_) server_ = std::make_unique<Postgres>(location_, Postgres::Access::readWrite, location_.lease / 3);
      const std::string until = kNow + " + " + std::to_string(location_.lease.count());
      return server_->changed("UPDATE worker SET until = " + until + " WHERE id = " + std::to_string(worker_) +
                              " AND until > " + kNow) == 1
                 ? Renewed::yes
                 : Renewed::no;
    } catch (const std::exception&) {
      server_.reset();
      return Renewed::unknown;
    }
  }

  Location location_;
  std::int64_t worker_;
  core::SteadyTime renewed_;
  std::stop_source lost_;
  Postgres& main_;
  std::unique_ptr<Postgres> server_;
  std::jthread thread_;  ///< Last: it uses the others.
};

struct Leases::Other {
  std::int64_t worker = 0;
  std::string host;
  std::int64_t process = 0;
  core::Duration left{};
};

Leases::Leases(Database& database, Use use) : database_(database), use_(use) {}

Leases::~Leases() {
  heart_.reset();
  if (worker_ == 0) return;
  Postgres& server = *database_.server();
  server.setWorker(0);
  try {
    if (!lost_.stop_requested()) server.runAll("DELETE FROM worker WHERE id = " + std::to_string(worker_));
  } catch (const std::exception&) {
    // It runs out.
  }
}

std::stop_token Leases::lost() const {
  return lost_.get_token();
}

core::Error Leases::lostError() const {
  return database_.server()->leaseLost();
}

void Leases::check() noexcept {
  if (worker_ == 0 || lost_.stop_requested()) return;
  try {
    const bool held = reading(database_, [&] {
      Query row(database_, "SELECT 1 FROM worker WHERE id = ? AND until > " + kNow);
      return row.with(worker_).next();
    });
    if (!held) lost_.request_stop();
  } catch (const std::exception&) {
    // Nothing is known that was not before.
  }
}

std::int64_t Leases::worker() {
  if (worker_ != 0) return worker_;
  Postgres& server = *database_.server();
  const core::SteadyTime since = core::systemClock().steadyNow();
  worker_ = recorded(database_, {}, "worker", [&] {
    // Of processes that ended without a word.
    server.runAll("DELETE FROM worker WHERE id IN (SELECT id FROM worker WHERE until < " + kNow +
                  " - 86400000 FOR UPDATE SKIP LOCKED)");
    Query insert(database_, "INSERT INTO worker (host, pid, until) VALUES (?, ?, " + kNow + " + ?) RETURNING id");
    insert.with(hostName(), static_cast<std::int64_t>(::getpid()), database_.location().lease.count()).next();
    return insert.integer(0);
  });
  server.setWorker(worker_);
  heart_ = std::make_unique<Heart>(database_.location(), worker_, since, lost_, server);
  return worker_;
}

std::optional<Leases::Other> Leases::other(std::int64_t number) const {
  Query row(database_, "SELECT worker.id, host, pid, until - " + kNow +
                           " FROM lease"
                           " JOIN worker ON worker.id = lease.worker"
                           " WHERE number = ? AND until > " +
                           kNow);
  if (!row.with(number).next() || row.integer(0) == worker_) return std::nullopt;
  return Other{
      .worker = row.integer(0), .host = row.text(1), .process = row.integer(2), .left = core::Duration(row.integer(3))};
}

std::optional<int> Leases::tryLock(std::int64_t number) {
  if (lost_.stop_requested()) throw lostError();
  if (held_.contains(number)) return std::nullopt;
  if (use_ == Use::look) return holder(number);
  const std::int64_t worker = this->worker();
  const bool taken = recorded(database_, {}, "lock", [&] {
    if (other(number)) return false;
    // One that is about to write what the lease allows it to write is waited for, then its number is gone.
    database_.server()->runAll(
        "DELETE FROM worker WHERE id IN (SELECT worker FROM lease WHERE number = " + std::to_string(number) +
        ") AND id <> " + std::to_string(worker) + " AND until <= " + kNow);
    Query insert(database_, "INSERT INTO lease (number, worker) VALUES (?, ?) ON CONFLICT (number) DO NOTHING");
    return insert.with(number, worker).run() == 1;
  });
  if (!taken) return 0;
  held_.insert(number);
  return std::nullopt;
}

void Leases::unlock(std::int64_t number) {
  if (held_.erase(number) == 0 || lost_.stop_requested()) return;
  try {
    database_.server()->runAll("DELETE FROM lease WHERE number = " + std::to_string(number) +
                               " AND worker = " + std::to_string(worker_));
  } catch (const std::exception&) {
    // It runs out with the process.
  }
}

std::optional<int> Leases::holder(std::int64_t number) const {
  if (held_.contains(number)) return static_cast<int>(::getpid());
  const auto found = reading(database_, [&] { return other(number); });
  return found ? std::optional(0) : std::nullopt;
}

std::string Leases::nameOfHolder(std::int64_t number) const {
  const auto found = reading(database_, [&] { return other(number); });
  if (!found) return "another process";
  return "process " + std::to_string(found->process) + " on " + core::printable(found->host, 60) + ", last heard of " +
         core::formatDuration(std::max(core::Duration(0), database_.location().lease - found->left)) + " ago";
}

}  // namespace caiexport::store
