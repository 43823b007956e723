#include "caiexport/net/http.h"

#include <Poco/Ascii.h>
#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

#include "caiexport/core/byte_set.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "http_message.h"

namespace caiexport::net {
namespace {

/// Thrown by the helpers below; parseUrl() and resolveReference() know the URL that it is about.
struct BadUrl {
  std::string why;
};

[[noreturn]] void throwBadUrl(std::string why) {
  throw BadUrl{std::move(why)};
}

[[noreturn]] void throwError(const BadUrl& bad, std::string_view text) {
  // With an @ it may hold a password.
  const bool showable = text.find('@') == std::string_view::npos;
  const std::string shown = showable ? " \"" + core::printable(displayUrl(text), 300) + "\"" : "";
  throw core::Error(core::Category::protocol, "the URL" + shown + " can't be used: " + bad.why);
}

bool isLetterOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// The reference taken apart by RFC 3986, appendix B; the fragment is dropped.
struct Reference {
  std::optional<std::string_view> scheme;
  std::optional<std::string_view> authority;
  std::string_view path;
  std::optional<std::string_view> query;
};

bool isScheme(std::string_view text) {
  const auto allowed = [](char c) { return isLetterOrDigit(c) || c == '+' || c == '-' || c == '.'; };
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') && std::all_of(text.begin(), text.end(), allowed);
}

Reference takeApart(std::string_view text) {
  Reference parts;
  text = text.substr(0, text.find('#'));
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos && isScheme(text.substr(0, colon))) {
    parts.scheme = text.substr(0, colon);
    text.remove_prefix(colon + 1);
  }
  if (const std::size_t mark = text.find('?'); mark != std::string_view::npos) {
    parts.query = text.substr(mark + 1);
    text = text.substr(0, mark);
  }
  if (text.starts_with("//")) {
    text.remove_prefix(2);
    const std::size_t slash = std::min(text.find('/'), text.size());
    parts.authority = text.substr(0, slash);
    text.remove_prefix(slash);
  }
  parts.path = text;
  return parts;
}

/// RFC 3986, 5.2.4, for a path that begins with a slash.
std::string removeDotSegments(std::string_view path) {
  std::vector<std::string_view> kept;
  bool endsInSlash = false;
  std::size_t start = 1;
  while (start <= path.size()) {
    const std::size_t slash = std::min(path.find('/', start), path.size());
    const std::string_view segment = path.substr(start, slash - start);
    const bool dots = segment == "." || segment == "..";
    if (segment == ".." && !kept.empty()) kept.pop_back();
    if (!dots) kept.push_back(segment);
    endsInSlash = dots && slash == path.size();
    start = slash + 1;
  }
  std::string result;
  for (const std::string_view segment : kept) result.append("/").append(segment);
  if (endsInSlash || result.empty()) result += '/';
  return result;
}

std::string mergePaths(std::string_view basePath, std::string_view path) {
  if (path.starts_with('/')) return removeDotSegments(path);
  const std::string_view folder = basePath.substr(0, basePath.rfind('/') + 1);
  return removeDotSegments(std::string(folder).append(path));
}

/// In a URL without its fragment.
constexpr core::ByteSet kUrlBytes([](char c) { return c > ' ' && c <= '~' && c != '\\' && c != '#'; });

void checkBytes(std::string_view text) {
  const std::size_t fits = kUrlBytes.lengthIn(text);
  if (fits == text.size()) return;
  if (text[fits] == '\\') throwBadUrl("it holds a backslash");
  if (text[fits] == '#') throwBadUrl("it holds a fragment");
  throwBadUrl("it holds a blank, a control character or a byte beyond ASCII");
}

std::string parseIpv6(std::string_view text) {
  in6_addr address{};
  if (inet_pton(AF_INET6, std::string(text).c_str(), &address) != 1) throwBadUrl("its IPv6 address is malformed");
  std::array<char, INET6_ADDRSTRLEN> canonical{};
  inet_ntop(AF_INET6, &address, canonical.data(), canonical.size());
  return canonical.data();
}

std::string parseName(std::string_view text) {
  if (text.empty()) throwBadUrl("it names no host");
  const auto allowed = [](char c) { return isLetterOrDigit(c) || c == '-' || c == '.' || c == '_'; };
  if (!std::all_of(text.begin(), text.end(), allowed)) throwBadUrl("its host holds characters that no host name has");
  return core::toLower(text);
}

std::uint16_t parsePort(std::string_view text) {
  const auto port = core::numberFrom<std::uint16_t>(text);
  if (!port || *port == 0) throwBadUrl("its port is not a number from 1 to 65535");
  return *port;
}

Origin parseAuthority(std::string scheme, std::string_view authority) {
  if (authority.find('@') != std::string_view::npos) throwBadUrl("it holds a user name or password");
  Origin origin{.scheme = std::move(scheme), .host = {}, .port = 0};
  std::string_view rest;
  if (authority.starts_with('[')) {
    const std::size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos) throwBadUrl("its IPv6 address is malformed");
    origin.host = parseIpv6(authority.substr(1, bracket - 1));
    rest = authority.substr(bracket + 1);
  } else {
    const std::size_t colon = std::min(authority.find(':'), authority.size());
    origin.host = parseName(authority.substr(0, colon));
    rest = authority.substr(colon);
  }
  if (rest.empty()) {
    origin.port = origin.scheme == "https" ? 443 : 80;
  } else {
    if (!rest.starts_with(':')) throwBadUrl("its host is malformed");
    origin.port = parsePort(rest.substr(1));
  }
  return origin;
}

Url parse(std::string_view text) {
  checkBytes(text);
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos) throwBadUrl("it does not begin with https://");
  std::string scheme = core::toLower(text.substr(0, colon));
  if (scheme != "https" && scheme != "http") throwBadUrl("only https:// and http:// can be used");
  text.remove_prefix(colon + 3);
  const std::size_t authorityEnd = std::min({text.find('/'), text.find('?'), text.size()});
  Url url{.origin = parseAuthority(std::move(scheme), text.substr(0, authorityEnd)),
          .target = std::string(text.substr(authorityEnd))};
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  return url;
}

std::string resolve(const Url& from, std::string_view reference) {
  const Reference parts = takeApart(reference);
  const std::string scheme = parts.scheme ? core::toLower(*parts.scheme) : from.origin.scheme;
  if (parts.scheme && !parts.authority) throwBadUrl("a link with a scheme names no host");

  std::string origin = from.origin.toString();
  std::string path;
  std::optional<std::string_view> query = parts.query;
  const std::string_view baseTarget = from.target;
  const std::size_t baseMark = std::min(baseTarget.find('?'), baseTarget.size());
  if (parts.authority) {
    origin = scheme + "://" + std::string(*parts.authority);
    path = parts.path.empty() ? "/" : removeDotSegments(parts.path);
  } else if (parts.path.empty()) {
    path = baseTarget.substr(0, baseMark);
    if (!query && baseMark < baseTarget.size()) query = baseTarget.substr(baseMark + 1);
  } else {
    path = mergePaths(baseTarget.substr(0, baseMark), parts.path);
  }
  std::string result = origin + path;
  if (query) result.append("?").append(*query);
  parse(result);
  return result;
}

}  // namespace

bool isSameName(std::string_view fieldName, std::string_view name) {
  if (fieldName.size() != name.size()) return false;
  return std::ranges::equal(fieldName, name, {}, Poco::Ascii::toLower, Poco::Ascii::toLower);
}

void Headers::set(std::string_view name, std::string value) {
  std::erase_if(fields_, [&](const auto& field) { return isSameName(field.first, name); });
  fields_.emplace_back(std::string(name), std::move(value));
}

const std::string* Headers::find(std::string_view name) const {
  const auto found = std::ranges::find_if(fields_, [&](const Field& field) { return isSameName(field.first, name); });
  return found == fields_.end() ? nullptr : &found->second;
}

std::optional<std::string> Headers::get(std::string_view name) const {
  const std::string* value = find(name);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::string Origin::toString() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  std::string text;
  text.reserve(scheme.size() + host.size() + 11);
  text.append(scheme).append(ipv6 ? "://[" : "://").append(host).append(ipv6 ? "]" : "");
  if (port != (scheme == "https" ? 443 : 80)) text.append(":").append(std::to_string(port));
  return text;
}

Url parseUrl(std::string_view text) {
  try {
    return parse(text);
  } catch (const BadUrl& bad) {
    throwError(bad, text);
  }
}

std::string resolveReference(std::string_view base, std::string_view reference) {
  const Url from = parseUrl(base);
  try {
    return resolve(from, reference);
  } catch (const BadUrl& bad) {
    throwError(bad, reference);
  }
}

bool isLoopback(std::string_view host) {
  if (isSameName(host, "localhost")) return true;
  const std::string terminated(host);
  in_addr ipv4{};
  if (inet_pton(AF_INET, terminated.c_str(), &ipv4) == 1) return ntohl(ipv4.s_addr) >> 24U == 127;
  in6_addr ipv6{};
  return inet_pton(AF_INET6, terminated.c_str(), &ipv6) == 1 && IN6_IS_ADDR_LOOPBACK(&ipv6);
}

}  // namespace caiexport::net
