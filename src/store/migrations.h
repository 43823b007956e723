#pragma once
/// The scripts of migrations/, built into the program (cmake/EmbedMigrations.cmake).

#include <span>

namespace caiexport::store {

struct Migration {
  int number;  ///< 1 and up, without a gap: the schema version that it leads to.
  const char* name;
  const char* sql;
};

/// In order.
std::span<const Migration> migrations();

}  // namespace caiexport::store
