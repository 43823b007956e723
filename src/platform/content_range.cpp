#include "content_range.h"

#include <limits>

#include "caiexport/core/text.h"

namespace caiexport::platform {
namespace {

std::optional<model::ByteRange> parseRange(std::string_view text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = core::parseUnsigned(core::trim(text.substr(0, dash)));
  const auto last = core::parseUnsigned(core::trim(text.substr(dash + 1)));
  if (!first || !last || *last < *first || *last == std::numeric_limits<std::uint64_t>::max()) return std::nullopt;
  return model::ByteRange{.first = *first, .end = *last + 1};
}

}  // namespace

std::optional<ContentRange> parseContentRange(std::string_view text) {
  text = core::trim(text);
  constexpr std::string_view kUnit = "bytes";
  if (core::toLower(text.substr(0, kUnit.size())) != kUnit) return std::nullopt;
  text.remove_prefix(kUnit.size());
  const std::size_t slash = text.find('/');
  if (!text.starts_with(' ') || slash == std::string_view::npos) return std::nullopt;

  ContentRange result;
  const std::string_view range = core::trim(text.substr(0, slash));
  const std::string_view total = core::trim(text.substr(slash + 1));
  if (total != "*" && !(result.totalBytes = core::parseUnsigned(total))) return std::nullopt;
  if (range != "*" && !(result.range = parseRange(range))) return std::nullopt;
  if (result.range && result.totalBytes && result.range->end > *result.totalBytes) return std::nullopt;
  return result;
}

}  // namespace caiexport::platform
