#include "caiexport/net/proxy_use.h"

#include "caiexport/net/poco_transport.h"
#include "http_message.h"
#include "proxy.h"

namespace caiexport::net {

std::optional<std::string> proxyFor(const ProxySettings& settings, std::string_view url) {
  const std::optional<Proxy> proxy = parseProxy(settings.httpsProxy);
  const Origin origin = parseUrl(url).origin;
  if (!proxy || origin.scheme != "https" || NoProxy(settings.noProxy).matches(origin.host, origin.port)) {
    return std::nullopt;
  }
  return hostAndPort(proxy->host, proxy->port);
}

}  // namespace caiexport::net
