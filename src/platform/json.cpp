#include "json.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/json/document.h"
#include "caiexport/model/ids.h"
#include "caiexport/net/http.h"

namespace caiexport::platform {
namespace {

using json::Document;
using json::Kind;

constexpr std::size_t kExcerptCharacters = 200;

/// The digits of a whole number, or of any other one as it is best written; nothing for what is not a number.
std::optional<std::string> numberText(const Document& document, Document::Index value) {
  switch (document.kind(value)) {
    case Kind::integer:
      return std::to_string(document.integer(value));
    case Kind::natural:
      return std::to_string(document.natural(value));
    case Kind::real:
      break;
    default:
      return std::nullopt;
  }
  const double real = document.real(value);
  constexpr double kExact = 9007199254740992.0;  // 2^53: below it a double holds every whole number
  if (std::trunc(real) == real && std::abs(real) <= kExact) return std::to_string(static_cast<std::int64_t>(real));
  std::array<char, 64> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), real);
  return error == std::errc{} ? std::optional(std::string(buffer.data(), end)) : std::nullopt;
}

std::string withoutBearer(std::string text) {
  constexpr std::string_view kWord = "bearer ";
  for (std::size_t at = 0; (at = core::toLower(text).find(kWord, at)) != std::string::npos;) {
    const std::size_t first = at + kWord.size();
    const std::size_t end = std::min(text.find_first_of(" \t\r\n\"'<>,;&", first), text.size());
    text.replace(first, end - first, "***");
    at = first;
  }
  return text;
}

std::string why(const net::HttpResponse& response, const std::string& problem) {
  const std::string type = response.headers.get("Content-Type").value_or("");
  std::string text = ": the answer " + problem;
  if (!type.empty()) text += " (content type " + core::printable(type, 80) + ")";
  if (response.body.empty()) return text + ": it is empty";
  return text + ": '" + excerpt(response.body) + "'";
}

}  // namespace

struct Json::Source {
  std::shared_ptr<const Document> document;
  std::string request;
};

Json Json::parse(const net::HttpResponse& response, std::string request) {
  const auto refuse = [&](const std::string& problem, const std::string& hint) {
    throw core::Error(core::Category::protocol, request + why(response, problem),
                      {.requestId = response.headers.get("x-request-id").value_or(""), .hint = hint});
  };
  const std::string proxyHint = "check base_url, and whether a proxy answers in the platform's place";
  const Document::Limits limits;
  Document::Parsed parsed = Document::parse(response.body, limits);
  switch (parsed.problem) {
    case Document::Problem::none:
      break;
    case Document::Problem::malformed:
      refuse("is not JSON, or it is cut", proxyHint);
      break;
    case Document::Problem::tooDeep:
      refuse("is nested deeper than " + std::to_string(limits.levels) + " levels", proxyHint);
      break;
    case Document::Problem::tooManyValues:
      refuse("holds more than " + std::to_string(limits.values) + " values", proxyHint);
      break;
  }
  return {std::make_shared<const Source>(Source{std::move(parsed.document), std::move(request)}), 0};
}

std::optional<Json> Json::tryParse(const std::string& body) {
  Document::Parsed parsed = Document::parse(body);
  if (parsed.problem != Document::Problem::none) return std::nullopt;
  return Json(std::make_shared<const Source>(Source{std::move(parsed.document), ""}), 0);
}

bool Json::is(json::Kind kind) const {
  return what_ == Is::value && document().kind(node_) == kind;
}

bool Json::exists() const {
  if (what_ != Is::value) return what_ == Is::name;
  if (is(Kind::object)) return document().size(node_) > 0;
  return !is(Kind::null);
}

bool Json::isObject() const {
  return is(Kind::object);
}

bool Json::isArray() const {
  return is(Kind::array);
}

bool Json::isText() const {
  return what_ == Is::name || is(Kind::text);
}

Json Json::at(std::string_view key) const {
  const std::uint32_t found = isObject() ? document().member(node_, key) : 0;
  if (found > 0) return {source_, found};
  Json missing(source_, node_);
  missing.what_ = Is::missing;
  missing.below_ = below_.empty() ? std::string(key) : below_ + "." + std::string(key);
  return missing;
}

Json Json::key(std::string_view name) const {
  Json result(source_, node_);
  result.what_ = Is::name;
  result.below_ = name;
  return result;
}

std::vector<Json> Json::elements() const {
  if (!isArray()) fail(exists() ? "is not an array" : "is missing");
  const std::vector<std::uint32_t> nodes = document().elements(node_);
  std::vector<Json> result;
  result.reserve(nodes.size());
  for (const std::uint32_t node : nodes) result.push_back(Json(source_, node));
  return result;
}

std::vector<std::pair<std::string, Json>> Json::members() const {
  if (!isObject()) fail(exists() ? "is not an object" : "is missing");
  std::vector<std::pair<std::string, Json>> result;
  for (const auto& [name, node] : document().members(node_)) result.emplace_back(name, Json(source_, node));
  return result;
}

const json::Document& Json::document() const {
  return *source_->document;
}

std::string Json::text() const {
  std::optional<std::string> result = textIfAny();
  if (!result) fail(exists() ? "is neither a string nor a number" : "is missing");
  return std::move(*result);
}

std::string Json::textOrEmpty() const {
  return exists() ? text() : std::string();
}

std::optional<std::string> Json::textIfAny() const {
  if (what_ == Is::name) return below_;
  if (what_ == Is::missing) return std::nullopt;
  if (isText()) return std::string(document().text(node_));
  return numberText(document(), node_);
}

std::optional<std::string_view> Json::stringIfAny() const {
  return is(Kind::text) ? std::optional(document().text(node_)) : std::nullopt;
}

std::optional<bool> Json::flagIfAny() const {
  if (is(Kind::boolean)) return document().boolean(node_);
  const std::string word = core::toLower(textIfAny().value_or(""));
  return word == "true" || word == "false" ? std::optional(word == "true") : std::nullopt;
}

std::string Json::id() const {
  std::string result = text();
  if (!model::isWellFormedId(result)) fail("is not an id: '" + core::printable(result, 80) + "'");
  return result;
}

std::uint64_t Json::unsignedNumber() const {
  const std::string digits = text();
  const std::optional<std::uint64_t> number = core::parseUnsigned(digits);
  if (!number) fail("is not a whole number from 0 to 2^64-1: '" + core::printable(digits, 80) + "'");
  return *number;
}

std::optional<std::uint64_t> Json::unsignedIfAny() const {
  const std::optional<std::string> digits = textIfAny();
  return digits ? core::parseUnsigned(*digits) : std::nullopt;
}

std::optional<std::int64_t> Json::signedNumber() const {
  return core::numberFrom<std::int64_t>(text());
}

core::TimePoint Json::time() const {
  const std::optional<core::TimePoint> result = timeIfAny();
  if (!result) fail("is missing");
  return *result;
}

std::optional<core::TimePoint> Json::timeIfAny(std::chrono::milliseconds unit) const {
  if (!exists()) return std::nullopt;
  // The year 9999: what RFC 3339 and the database can write.
  constexpr std::int64_t kLatest = 253402300799999;
  const std::optional<std::int64_t> count = signedNumber();
  if (!count || *count > kLatest / unit.count() || *count < -kLatest / unit.count()) {
    fail("is not a time: '" + core::printable(text(), 80) + "'");
  }
  return core::TimePoint(*count * unit);
}

std::string Json::place() const {
  std::string path = document().path(node_);
  if (what_ != Is::value) path += (path.empty() ? "" : ".") + (what_ == Is::name ? "the key " + below_ : below_);
  return source_->request + ": the answer" + (path.empty() ? "" : "'s field " + core::printable(path, 200));
}

void Json::fail(const std::string& why) const {
  throw core::Error(core::Category::protocol, place() + " " + why);
}

std::string firstText(const Json& from, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (auto text = from.at(key).textIfAny(); text && !text->empty()) return *text;
  }
  return {};
}

std::string excerpt(const std::string& body) {
  // Bytes enough for that many characters, and for the word before them.
  const std::string start = withoutBearer(body.substr(0, 4 * kExcerptCharacters));
  std::string line;
  for (const char c : start) {
    const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!blank) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  return core::printable(line, kExcerptCharacters);
}

}  // namespace caiexport::platform
