#include "links.h"

#include <charconv>
#include <limits>

#include "caiexport/core/byte_set.h"
#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "json.h"

namespace caiexport::platform {
namespace {

constexpr std::string_view kExportRoot = "/data/foundation/export";
constexpr std::size_t kLongestName = 250;

/// "Data Access API guide": a next link may hold characters that need encoding.
std::string wireSafe(std::string_view href) {
  std::string out;
  for (const char c : href) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == ' ' || byte >= 0x80) {
      out += core::percentEncode(std::string_view(&c, 1));
    } else {
      out += c;
    }
  }
  return out;
}

std::string checkedLink(const net::Origin& allowed, std::string_view base, std::string_view reference,
                        const Json& href) {
  std::string url;
  try {
    url = net::resolveReference(base, wireSafe(reference));
  } catch (const core::Error& error) {
    href.fail(std::string("can't be followed: ") + error.what());
  }
  const net::Origin origin = net::parseUrl(url).origin;
  if (origin == allowed) return url;
  href.fail("leads to " + origin.toString() + ", but the access token belongs to " + allowed.toString() +
            " only; the link was not followed");
}

/// With room for a query of so many bytes.
std::string pathOf(const model::DatasetFileId& file, std::size_t queryBytes = 0) {
  constexpr std::string_view kFiles = "/files/";
  std::string path;
  path.reserve(kExportRoot.size() + kFiles.size() + file.value().size() + queryBytes);
  core::appendPercentEncoded(path.append(kExportRoot).append(kFiles), file.value());
  return path;
}

std::optional<model::ByteRange> parseRange(std::string_view text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = core::parseUnsigned(core::trim(text.substr(0, dash)));
  const auto last = core::parseUnsigned(core::trim(text.substr(dash + 1)));
  if (!first || !last || *last < *first || *last == std::numeric_limits<std::uint64_t>::max()) return std::nullopt;
  return model::ByteRange{.first = *first, .end = *last + 1};
}

}  // namespace

std::string sameOriginLink(const net::Origin& allowed, std::string_view base, const Json& href) {
  return checkedLink(allowed, base, href.text(), href);
}

std::optional<std::string> linkParameter(const net::Origin& allowed, const Json& href, std::string_view name) {
  const std::string text = href.text();
  const std::size_t mark = std::min(text.find('?'), text.size());
  if (text.starts_with("//") || text.find("://") < mark) sameOriginLink(allowed, allowed.toString() + "/", href);
  std::string_view query = std::string_view(text).substr(std::min(mark + 1, text.size()));
  query = query.substr(0, query.find('#'));
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    if (!part.starts_with(name) || part.size() <= name.size() + 1 || part[name.size()] != '=') continue;
    return core::percentDecode(part.substr(name.size() + 1));
  }
  return std::nullopt;
}

std::string checkedFileName(const Json& name) {
  return checkedFileName(name, name.text());
}

std::string checkedFileName(const Json& name, std::string text) {
  const auto refuse = [&](const std::string& why) { name.fail(why + ": '" + core::printable(text, 120) + "'"); };
  if (text.empty() || text == "." || text == "..") refuse("is not a file name");
  if (text.find('/') != text.npos || text.find('\\') != text.npos)
    refuse("is not a plain file name, it names a folder");
  // What has to be escaped to be shown holds control characters, direction marks or invalid UTF-8.
  if (!core::kPlainAscii.hasAll(text) && core::printable(text, 4 * text.size()) != text)
    refuse("is a file name with characters that are not allowed");
  if (text.size() > kLongestName) refuse("is a file name of more than " + std::to_string(kLongestName) + " bytes");
  constexpr std::string_view kUnfinished = ".part";
  constexpr std::string_view kManifest = "manifest.json";
  const std::string_view end = std::string_view(text).substr(text.size() - std::min(text.size(), kManifest.size()));
  const std::string lower = core::toLower(end);
  if (lower.ends_with(kUnfinished) || (text.size() == kManifest.size() && lower == kManifest))
    refuse("is a file name that caiexport uses itself");
  return text;
}

std::string fileTarget(const model::DatasetFileId& file, std::string_view name) {
  constexpr std::string_view kPath = "?path=";
  std::string target = pathOf(file, kPath.size() + name.size());
  core::appendPercentEncoded(target.append(kPath), name);
  return target;
}

bool isDerivable(std::string_view url, const net::Origin& origin, const model::DatasetFileId& file,
                 std::string_view name) {
  const net::Url parsed = net::parseUrl(url);
  if (parsed.origin != origin) return false;
  const std::string_view target = parsed.target;
  const std::size_t mark = std::min(target.find('?'), target.size());
  const std::string_view query = target.substr(std::min(mark + 1, target.size()));
  // A plus may stand for a blank or for itself; a second parameter may mean anything.
  if (!query.starts_with("path=") || query.find_first_of("+&;") != std::string_view::npos) return false;
  return core::percentDecode(target.substr(0, mark)) == core::percentDecode(pathOf(file)) &&
         core::percentDecode(query.substr(5)) == name;
}

std::optional<ContentRange> parseContentRange(std::string_view text) {
  text = core::trim(text);
  constexpr std::string_view kUnit = "bytes";
  if (core::toLower(text.substr(0, kUnit.size())) != kUnit) return std::nullopt;
  text.remove_prefix(kUnit.size());
  const std::size_t slash = text.find('/');
  if (!text.starts_with(' ') || slash == std::string_view::npos) return std::nullopt;

  ContentRange result;
  const std::string_view range = core::trim(text.substr(0, slash));
  const std::string_view total = core::trim(text.substr(slash + 1));
  if (total != "*" && !(result.totalBytes = core::parseUnsigned(total))) return std::nullopt;
  if (range != "*" && !(result.range = parseRange(range))) return std::nullopt;
  if (result.range && result.totalBytes && result.range->end > *result.totalBytes) return std::nullopt;
  return result;
}

}  // namespace caiexport::platform
