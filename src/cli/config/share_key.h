#pragma once
/// The key by which several workers do one job together (--share).

#include <optional>
#include <string>

#include "settings.h"

namespace caiexport::store {
class Location;
}

namespace caiexport::cli {

class ParsedOptions;

/// What --share says, or CAIEXPORT_SHARE; `auto` stands for what the engine that started this process calls the tasks
/// that belong together. Nothing if neither is given: a task of an engine that does a job of its own is to stay what it
/// is. Error(usage) for a database that other hosts do not reach, for `auto` without an engine, for a key that can't be
/// one.
std::optional<std::string> shareKey(const ParsedOptions& options, const Environment& environment,
                                    const store::Location& database);

}  // namespace caiexport::cli
