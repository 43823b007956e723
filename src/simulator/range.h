#pragma once
/// The Range header of RFC 9110, as far as a single range goes.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace caiexport::simulator {

struct ByteRange {
  std::uint64_t offsetBytes = 0;
  std::uint64_t lengthBytes = 0;
};

enum class RangeKind { whole, part, unsatisfiable };

struct RangeAnswer {
  RangeKind kind = RangeKind::whole;
  ByteRange range = {};
};

/// What a Range header asks of a body of `totalBytes`. Several ranges or a bad header count as no header.
RangeAnswer readRange(std::optional<std::string_view> header, std::uint64_t totalBytes);

/// `bytes 0-99/249058`.
std::string contentRange(std::uint64_t offsetBytes, std::uint64_t lengthBytes, std::uint64_t totalBytes);

}  // namespace caiexport::simulator
