#include "json.h"

#include <Poco/Exception.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/ParseHandler.h>
#include <Poco/JSON/Parser.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <typeinfo>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/model/ids.h"
#include "caiexport/net/http.h"

namespace caiexport::platform {
namespace {

using Poco::Dynamic::Var;
using ObjectPtr = Poco::JSON::Object::Ptr;
using ArrayPtr = Poco::JSON::Array::Ptr;

/// Poco's own limit; past it the parser's recursion would be at the mercy of the server.
constexpr int kMostLevels = 128;
constexpr std::size_t kExcerptCharacters = 200;

bool isDigit(char c) {
  return c >= '0' && c <= '9';
}

template <class Integer>
std::optional<Integer> parseWhole(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Poco 1.11 turns 18446744073709551616 into 0 without a word, and refuses the whole text for a 1e400.
bool survivesPoco(const std::string& number) {
  if (number.find_first_of(".eE") != std::string::npos) return std::isfinite(std::strtod(number.c_str(), nullptr));
  const std::string_view digits = std::string_view(number).substr(number.starts_with('-') ? 1 : 0);
  if (digits.empty() || digits.size() < 18) return true;
  return parseWhole<std::int64_t>(number) || parseWhole<std::uint64_t>(number);
}

bool isNumber(const std::string& token) {
  const std::size_t first = token.starts_with('-') ? 1 : 0;
  const std::size_t last = token.size() - 1;
  return token.size() > first && isDigit(token[first]) && isDigit(token[last]) &&
         (token[first] != '0' || token.size() == first + 1 || !isDigit(token[first + 1]));
}

/// The text with every number that Poco can't hold turned into a string of its digits: a field that nobody asks for
/// does no harm then, and one that is asked for is checked with all its digits. Nothing if it is nested too deeply.
std::optional<std::string> guarded(const std::string& text) {
  constexpr std::string_view kNumberCharacters = "0123456789+-.eE";
  std::string out;
  std::size_t copied = 0;
  int level = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
    } else if (c == '{' || c == '[') {
      if (++level > kMostLevels) return std::nullopt;
    } else if (c == '}' || c == ']') {
      --level;
    } else if (c == '-' || isDigit(c)) {
      const std::size_t end = std::min(text.find_first_not_of(kNumberCharacters, i), text.size());
      const std::string token = text.substr(i, end - i);
      if (isNumber(token) && !survivesPoco(token)) {
        out.append(text, copied, i - copied).append("\"").append(token).append("\"");
        copied = end;
      }
      i = end - 1;
    }
  }
  return out.append(text, copied);
}

/// Empty if it can't be parsed.
Var parseText(const std::string& text) {
  try {
    // Key order carries the sort of Catalog's answers.
    Poco::JSON::Parser parser(new Poco::JSON::ParseHandler(true));
    return parser.parse(text);
  } catch (const Poco::Exception&) {
    return {};
  } catch (const std::exception&) {
    return {};
  }
}

template <class Pointer>
const Pointer* pointerIn(const Var& value) {
  return !value.isEmpty() && value.type() == typeid(Pointer) ? &value.extract<Pointer>() : nullptr;
}

bool isTextVar(const Var& value) {
  return !value.isEmpty() && value.type() == typeid(std::string);
}

/// The digits of a whole number, or of any other one as it is best written; nothing for what is not a number.
std::optional<std::string> numberText(const Var& value) {
  if (value.isEmpty() || value.isBoolean() || !value.isNumeric()) return std::nullopt;
  if (value.isInteger()) return value.convert<std::string>();
  const auto real = value.convert<double>();
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

Json::Json(const Var& value, std::shared_ptr<const std::string> request, std::string path)
    : value_(value), request_(std::move(request)), path_(std::move(path)) {}

Json Json::parse(const net::HttpResponse& response, std::string request) {
  const auto refuse = [&](const std::string& problem) {
    throw core::Error(core::Category::protocol, request + why(response, problem),
                      {.requestId = response.headers.get("x-request-id").value_or(""),
                       .hint = "check base_url, and whether a proxy answers in the platform's place"});
  };
  const std::optional<std::string> text = guarded(response.body);
  if (!text) refuse("is nested deeper than " + std::to_string(kMostLevels) + " levels");
  const Var value = parseText(*text);
  if (value.isEmpty()) refuse("is not JSON, or it is cut");
  return {value, std::make_shared<const std::string>(std::move(request)), ""};
}

std::optional<Json> Json::tryParse(const std::string& body) {
  const std::optional<std::string> text = guarded(body);
  if (!text) return std::nullopt;
  const Var value = parseText(*text);
  if (value.isEmpty()) return std::nullopt;
  return Json(value, std::make_shared<const std::string>(), "");
}

bool Json::exists() const {
  const ObjectPtr* object = pointerIn<ObjectPtr>(value_);
  return object != nullptr ? (*object)->size() > 0 : !value_.isEmpty();
}

bool Json::isObject() const {
  return pointerIn<ObjectPtr>(value_) != nullptr;
}

bool Json::isArray() const {
  return pointerIn<ArrayPtr>(value_) != nullptr;
}

bool Json::isText() const {
  return isTextVar(value_);
}

Json Json::at(const std::string& key) const {
  const ObjectPtr* object = pointerIn<ObjectPtr>(value_);
  return {object != nullptr ? (*object)->get(key) : Var(), request_, path_.empty() ? key : path_ + "." + key};
}

Json Json::key(const std::string& name) const {
  return {Var(name), request_, (path_.empty() ? "" : path_ + ".") + "the key " + name};
}

std::vector<Json> Json::elements() const {
  const ArrayPtr* array = pointerIn<ArrayPtr>(value_);
  if (array == nullptr) fail(exists() ? "is not an array" : "is missing");
  std::vector<Json> result;
  result.reserve((*array)->size());
  for (const Var& element : **array) {
    result.push_back(Json(element, request_, path_ + "[" + std::to_string(result.size()) + "]"));
  }
  return result;
}

std::vector<std::pair<std::string, Json>> Json::members() const {
  const ObjectPtr* object = pointerIn<ObjectPtr>(value_);
  if (object == nullptr) fail(value_.isEmpty() ? "is missing" : "is not an object");
  std::vector<std::pair<std::string, Json>> result;
  for (const std::string& key : (*object)->getNames()) result.emplace_back(key, at(key));
  return result;
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
  if (isTextVar(value_)) return value_.extract<std::string>();
  return numberText(value_);
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
  return parseWhole<std::int64_t>(text());
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
  return *request_ + ": the answer" + (path_.empty() ? "" : "'s field " + core::printable(path_, 200));
}

void Json::fail(const std::string& why) const {
  throw core::Error(core::Category::protocol, place() + " " + why);
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
