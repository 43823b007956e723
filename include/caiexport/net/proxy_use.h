#pragma once
/// Which way a request would take.

#include <optional>
#include <string>
#include <string_view>

namespace caiexport::net {

struct ProxySettings;

/// `host:port` of the proxy that requests to `url` go through, without its credentials; nothing: they go directly.
/// Error(config) for a malformed proxy.
std::optional<std::string> proxyFor(const ProxySettings& settings, std::string_view url);

}  // namespace caiexport::net
