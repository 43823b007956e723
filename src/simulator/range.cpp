#include "simulator/range.h"

#include <algorithm>

#include "caiexport/core/text.h"

namespace caiexport::simulator {
namespace {

RangeAnswer partOf(std::uint64_t first, std::uint64_t last, std::uint64_t totalBytes) {
  if (first >= totalBytes) {
    return {.kind = RangeKind::unsatisfiable};
  }
  last = std::min(last, totalBytes - 1);
  return {.kind = RangeKind::part, .range = {.offsetBytes = first, .lengthBytes = last - first + 1}};
}

}  // namespace

RangeAnswer readRange(std::optional<std::string_view> header, std::uint64_t totalBytes) {
  constexpr std::string_view unit = "bytes=";
  const RangeAnswer whole{.kind = RangeKind::whole, .range = {.offsetBytes = 0, .lengthBytes = totalBytes}};
  if (!header || !header->starts_with(unit)) {
    return whole;
  }
  const std::string_view range = header->substr(unit.size());
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) {
    return whole;
  }
  const auto first = core::parseUnsigned(range.substr(0, dash));
  const auto last = core::parseUnsigned(range.substr(dash + 1));
  if (first && range.size() == dash + 1) {
    return partOf(*first, UINT64_MAX, totalBytes);
  }
  if (first && last && *first <= *last) {
    return partOf(*first, *last, totalBytes);
  }
  if (dash == 0 && last) {
    return *last == 0 ? RangeAnswer{.kind = RangeKind::unsatisfiable}
                      : partOf(totalBytes - std::min(*last, totalBytes), UINT64_MAX, totalBytes);
  }
  return whole;
}

std::string contentRange(std::uint64_t offsetBytes, std::uint64_t lengthBytes, std::uint64_t totalBytes) {
  const std::string total = std::to_string(totalBytes);
  if (lengthBytes == 0) {
    return "bytes */" + total;
  }
  return "bytes " + std::to_string(offsetBytes) + "-" + std::to_string(offsetBytes + lengthBytes - 1) + "/" + total;
}

}  // namespace caiexport::simulator
