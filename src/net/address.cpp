#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <string>

namespace caiexport::net {

std::vector<unsigned char> addressBytes(std::string_view text) {
  const std::string terminated(text);
  std::vector<unsigned char> bytes(sizeof(in6_addr));
  if (inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) return bytes;
  bytes.resize(sizeof(in_addr));
  if (inet_pton(AF_INET, terminated.c_str(), bytes.data()) == 1) return bytes;
  return {};
}

}  // namespace caiexport::net
