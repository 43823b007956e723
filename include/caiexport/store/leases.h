#pragma once
/// Locks of processes on several hosts: leases in a database that they share. What a process holds stays its own as
/// long as it says, every few seconds and by the server's clock, that it is alive; after that anyone may take it. A
/// process that was late never gets it back under the same number: what it was about to write is refused (the `fence`),
/// and it is to stop.
///
/// One row of `worker` stands for the process. Leases of other things (files of a job that several work on) may refer
/// to it likewise: they are held as long as that row is.

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "caiexport/core/error.h"
#include "caiexport/core/file_lock.h"

namespace caiexport::store {

class Database;

/// For the thread that owns the connection; a thread and a connection of its own renew what is held.
class Leases : public core::Locks {
 public:
  enum class Use {
    hold,
    look  ///< Nothing is taken: a lock that nobody has is as good as taken.
  };
  /// Of a server. Nothing is written before the first lock. From then on each writing transaction of that Database is
  /// refused, Error(unavailable), once the lease is lost.
  Leases(Database& database, Use use);
  /// Gives back all that is held.
  ~Leases() override;

  std::optional<int> tryLock(std::int64_t number) override;
  /// Quiet: what can't be given back runs out.
  void unlock(std::int64_t number) override;
  std::optional<int> holder(std::int64_t number) const override;
  std::string nameOfHolder(std::int64_t number) const override;

  /// Number of this process's row of `worker`, which is made if there is none: the fence.
  std::int64_t worker();
  /// Asks the server, ahead of the next renewal; lost() tells. Quiet.
  void check() noexcept;
  /// Requested once the lease is lost, or nothing was heard of the server for as long as it lasts.
  std::stop_token lost() const;
  /// What to end with then: Error(unavailable).
  core::Error lostError() const;

 private:
  class Heart;
  struct Other;
  std::optional<Other> other(std::int64_t number) const;

  Database& database_;
  Use use_;
  std::unique_ptr<Heart> heart_;
  std::stop_source lost_;
  std::int64_t worker_ = 0;
  std::set<std::int64_t> held_;
};

}  // namespace caiexport::store
