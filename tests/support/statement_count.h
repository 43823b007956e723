#pragma once
/// How often a database was asked, for tests of what grows with what is in it.

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

#include <cstdint>

#include "caiexport/store/database.h"

namespace caiexport::support {

/// Counts the statements that are begun on a file's connection, those of transactions too.
class StatementCount {
 public:
  explicit StatementCount(store::Database& database) : handle_(database.connection().getHandle()) {
    sqlite3_trace_v2(handle_, SQLITE_TRACE_STMT, &StatementCount::add, this);
  }
  ~StatementCount() { sqlite3_trace_v2(handle_, 0, nullptr, nullptr); }
  StatementCount(const StatementCount&) = delete;
  StatementCount& operator=(const StatementCount&) = delete;

  std::uint64_t statements() const { return count_; }

 private:
  static int add(unsigned, void* self, void*, void*) {
    ++static_cast<StatementCount*>(self)->count_;
    return 0;
  }

  sqlite3* handle_;
  std::uint64_t count_ = 0;
};

}  // namespace caiexport::support
