#pragma once
/// IP addresses as text.

#include <string_view>
#include <vector>

namespace caiexport::net {

/// The 4 or 16 bytes of an IPv4 or IPv6 address (without brackets); empty if the text is none.
std::vector<unsigned char> addressBytes(std::string_view text);

inline bool isAddress(std::string_view text) {
  return !addressBytes(text).empty();
}

}  // namespace caiexport::net
