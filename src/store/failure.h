#pragma once
/// SQLite's failures in our words.

#include <filesystem>
#include <string_view>

#include "caiexport/core/error.h"

namespace SQLite {
class Exception;
}

namespace caiexport::store {

/// "cannot WHAT the job database FILE: REASON", with the remedy.
[[noreturn]] void throwDatabaseError(std::string_view what, const std::filesystem::path& file,
                                     const SQLite::Exception& error);

}  // namespace caiexport::store
