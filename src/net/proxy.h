#pragma once
/// What HTTPS_PROXY and NO_PROXY mean.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/secret.h"

namespace caiexport::net {

struct Proxy {
  std::string host;
  std::uint16_t port = 0;
  core::Secret authorization = {};         ///< Value of Proxy-Authorization; empty without credentials.
  std::vector<core::Secret> secrets = {};  ///< What of the credentials nobody may repeat.
};

/// `[http://][user:password@]host[:port][/]`; nothing for an empty text. Error(config), which shows no part of the
/// text, for anything else: proxies that want TLS or SOCKS themselves are not supported.
std::optional<Proxy> parseProxy(std::string_view text);

/// The list in NO_PROXY: `*`, hosts, domains (`corp` and `.corp` both mean corp and all below it), addresses, CIDR
/// blocks for hosts given as addresses, each but the blocks also with `:port`.
class NoProxy {
 public:
  explicit NoProxy(std::string_view list);
  /// `host` in lower case, IPv6 without brackets.
  bool matches(std::string_view host, std::uint16_t port) const;

 private:
  struct Rule {
    std::string host;                    ///< Lower case, no leading dot, no brackets; the address of a block.
    std::optional<std::uint16_t> port;   ///< Any port if absent.
    std::optional<unsigned> prefixBits;  ///< Of a CIDR block.
  };
  static Rule parseRule(std::string_view text);
  static bool matchesRule(const Rule& rule, std::string_view host);

  std::vector<Rule> rules_;
  bool all_ = false;
};

}  // namespace caiexport::net
