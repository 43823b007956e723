#include "report_text.h"

#include <array>
#include <charconv>

namespace caiexport::reader {

std::string fixed(double value, int places) {
  std::array<char, 64> buffer{};
  const auto result =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, places);
  // Only values beyond 10^50 do not fit.
  if (result.ec != std::errc{}) {
    return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr};
  }
  return {buffer.data(), result.ptr};
}

std::string shown(const std::optional<double>& value, int places) {
  return value ? fixed(*value, places) : "-";
}

std::string grouped(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

}  // namespace caiexport::reader
