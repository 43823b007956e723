#pragma once
/// The views that `history --sql` reads, and the guard that keeps a statement to them.

#include <exception>
#include <functional>
#include <set>
#include <stop_token>
#include <string>

#include "caiexport/model/job.h"
#include "caiexport/store/database.h"

struct sqlite3;

namespace caiexport::store {

/// While it lives, the connection has the views and can do nothing but SELECT from them.
///
/// SQLite tells an authorizer the name of the innermost view or FROM item that a read stands in. A statement could name
/// a CTE `jobs` and read the tables in it, so the tables are read by inner views whose names hold a random word, and
/// those names alone open the tables.
class SqlGuard {
 public:
  SqlGuard(Database& database, std::function<bool(model::JobId)> isHeld, std::stop_token stop);
  ~SqlGuard();
  SqlGuard(const SqlGuard&) = delete;
  SqlGuard& operator=(const SqlGuard&) = delete;

  /// What isHeld threw inside a statement goes on from here.
  void rethrow() const;

 private:
  struct Callbacks;
  bool mayRead(const char* table, const char* column, const char* schema, const char* context) const;
  bool mayCount(std::string_view table) const;
  void createViews();
  void dropViews();
  void lock();
  void unlock();
  int setLimit(int which, int value);

  Database& database_;
  sqlite3* handle_;
  std::string inner_;             ///< What the names of the inner views begin with.
  std::set<std::string> tables_;  ///< All that the database has.
  std::function<bool(model::JobId)> isHeld_;
  std::stop_token stop_;
  std::exception_ptr thrown_;
  int lengthLimit_ = 0;
  int sqlLimit_ = 0;
};

}  // namespace caiexport::store
