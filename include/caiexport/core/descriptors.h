#pragma once
/// How many files and connections this process may have open.

#include <cstdint>
#include <optional>
#include <string>

#include "caiexport/core/error.h"

namespace caiexport::core {

/// The process, or the whole machine, has no descriptor left: with fewer files and connections at a time it may work.
/// Category `io`.
class TooFewDescriptors final : public Error {
 public:
  explicit TooFewDescriptors(const std::string& message)
      : Error(Category::io, message, {.hint = "lower --connections, or let the process open more files (ulimit -n)"}) {}
};

/// How many more this process may open; nothing where that is no concern.
std::optional<std::uint64_t> freeDescriptors();

}  // namespace caiexport::core
