#pragma once
/// Numbers for people.

#include <cstdint>
#include <optional>
#include <string>

namespace caiexport::reader {

/// With that many digits after the point.
std::string fixed(double value, int places);
/// A dash for nothing.
std::string shown(const std::optional<double>& value, int places = 2);
/// 1,234,567.
std::string grouped(std::uint64_t count);

}  // namespace caiexport::reader
