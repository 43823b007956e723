#include "proxy.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/numbers.h"
#include "caiexport/core/text.h"
#include "caiexport/net/http.h"
#include "caiexport/net/poco_transport.h"
#include "http_message.h"

namespace caiexport::net {
namespace {

[[noreturn]] void throwBadProxy(const std::string& why) {
  throw core::Error(core::Category::config, "the proxy's address (HTTPS_PROXY) can't be used: " + why,
                    {.hint = "it must read http://[user:password@]host:port"});
}

/// The password, as it is written and as it is meant, and what goes out in its place.
std::vector<core::Secret> secretsOf(std::string_view userInfo, const core::Secret& authorization) {
  std::vector<core::Secret> secrets{core::Secret(std::string(authorization.reveal().substr(sizeof "Basic")))};
  const std::size_t colon = userInfo.find(':');
  if (colon == std::string_view::npos) return secrets;
  secrets.emplace_back(std::string(userInfo.substr(colon + 1)));
  secrets.emplace_back(core::percentDecode(userInfo.substr(colon + 1)));
  return secrets;
}

core::Secret basicAuthorization(std::string_view userInfo) {
  std::string credentials = core::percentDecode(userInfo);
  if (credentials.find(':') == std::string::npos) credentials += ':';
  std::string encoded(4 * ((credentials.size() + 2) / 3) + 1, '\0');
  const auto* bytes = reinterpret_cast<const unsigned char*>(credentials.data());
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()), bytes, static_cast<int>(credentials.size()));
  encoded.resize(static_cast<std::size_t>(length));
  core::cleanse(credentials);
  core::Secret authorization("Basic " + encoded);
  core::cleanse(encoded);
  return authorization;
}

bool inBlock(std::string_view host, std::string_view network, unsigned bits) {
  const std::vector<unsigned char> address = addressBytes(host);
  const std::vector<unsigned char> block = addressBytes(network);
  if (address.empty() || address.size() != block.size() || bits > address.size() * 8) return false;
  for (unsigned bit = 0; bit < bits; ++bit) {
    const unsigned mask = 0x80U >> (bit % 8);
    if ((address[bit / 8] & mask) != (block[bit / 8] & mask)) return false;
  }
  return true;
}

std::string firstVariable(const char* name, const char* otherName) {
  for (const char* candidate : {name, otherName}) {
    if (const char* value = std::getenv(candidate); value != nullptr && *value != '\0') return value;
  }
  return {};
}

}  // namespace

std::optional<Proxy> parseProxy(std::string_view text) {
  text = core::trim(text);
  if (text.empty()) return std::nullopt;
  if (const std::size_t mark = text.find("://"); mark != std::string_view::npos) {
    if (core::toLower(text.substr(0, mark)) != "http") throwBadProxy("only proxies of the kind http:// are supported");
    text.remove_prefix(mark + 3);
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  Proxy proxy;
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    proxy.authorization = basicAuthorization(text.substr(0, at));
    proxy.secrets = secretsOf(text.substr(0, at), proxy.authorization);
    text.remove_prefix(at + 1);
  }
  if (text.find_first_of("/?") != std::string_view::npos) throwBadProxy("it has a path");
  try {
    const Url url = parseUrl("http://" + std::string(text));
    proxy.host = url.origin.host;
    proxy.port = url.origin.port;
  } catch (const core::Error&) {
    // Its message shows the text, which may hold a password in a wrong place.
    throwBadProxy("its host or port is malformed");
  }
  return proxy;
}

NoProxy::NoProxy(std::string_view list) {
  std::string commas(list);
  std::ranges::replace_if(
      commas, [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }, ',');
  for (const std::string& entry : core::splitList(commas)) {
    if (entry == "*") {
      all_ = true;
    } else {
      rules_.push_back(parseRule(entry));
    }
  }
}

NoProxy::Rule NoProxy::parseRule(std::string_view text) {
  Rule rule;
  if (const std::size_t slash = text.find('/'); slash != std::string_view::npos) {
    // A block that can't be read matches nothing: 999 bits are in no address.
    rule.prefixBits = core::numberFrom<unsigned>(text.substr(slash + 1)).value_or(999);
    text = text.substr(0, slash);
  }
  const bool bareIpv6 = !text.starts_with('[') && text.find(':') != text.rfind(':');
  if (const std::size_t colon = text.rfind(':'); !bareIpv6 && colon != std::string_view::npos && !text.ends_with(']')) {
    rule.port = core::numberFrom<std::uint16_t>(text.substr(colon + 1));
    if (rule.port) text = text.substr(0, colon);
  }
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  if (text.starts_with('*')) text.remove_prefix(1);
  if (text.starts_with('.')) text.remove_prefix(1);
  // A name with a dot at its end is the same, said to be whole.
  if (text.ends_with('.')) text.remove_suffix(1);
  rule.host = core::toLower(text);
  return rule;
}

bool NoProxy::matches(std::string_view host, std::uint16_t port) const {
  if (all_) return true;
  if (host.ends_with('.')) host.remove_suffix(1);
  for (const Rule& rule : rules_) {
    if ((!rule.port || *rule.port == port) && matchesRule(rule, host)) return true;
  }
  return false;
}

bool NoProxy::matchesRule(const Rule& rule, std::string_view host) {
  if (rule.host.empty()) return false;
  if (rule.prefixBits) return inBlock(host, rule.host, *rule.prefixBits);
  if (host == rule.host) return true;
  const std::vector<unsigned char> address = addressBytes(host);
  if (!address.empty()) return address == addressBytes(rule.host);
  return host.size() > rule.host.size() && host.ends_with(rule.host) && host[host.size() - rule.host.size() - 1] == '.';
}

ProxySettings proxyFromEnvironment() {
  ProxySettings settings{.httpsProxy = firstVariable("HTTPS_PROXY", "https_proxy"),
                         .noProxy = firstVariable("NO_PROXY", "no_proxy")};
  for (const char* name : {"ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"}) {
    const char* value = std::getenv(name);
    const bool matters = settings.httpsProxy.empty() && settings.ignored.empty();
    if (matters && value != nullptr && *value != '\0') settings.ignored = name;
  }
  return settings;
}

std::optional<std::string> proxyFor(const ProxySettings& settings, std::string_view url) {
  const std::optional<Proxy> proxy = parseProxy(settings.httpsProxy);
  const Origin origin = parseUrl(url).origin;
  if (!proxy || origin.scheme != "https" || NoProxy(settings.noProxy).matches(origin.host, origin.port)) {
    return std::nullopt;
  }
  return hostAndPort(proxy->host, proxy->port);
}

}  // namespace caiexport::net
