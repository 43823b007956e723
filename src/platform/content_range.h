#pragma once
/// The Content-Range header. Source: RFC 9110, section 14.4.

#include <cstdint>
#include <optional>
#include <string_view>

#include "caiexport/model/job.h"

namespace caiexport::platform {

struct ContentRange {
  std::optional<model::ByteRange> range = {};    ///< Nothing for the `*` of a 416.
  std::optional<std::uint64_t> totalBytes = {};  ///< Nothing for `*`: unknown.
};

/// Nothing for what is not a byte range, or one that contradicts itself.
std::optional<ContentRange> parseContentRange(std::string_view text);

}  // namespace caiexport::platform
