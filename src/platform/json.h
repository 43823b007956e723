#pragma once
/// JSON answers, guarded: what is missing, mistyped or out of range is an error that names request and field.

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"

namespace caiexport::net {
struct HttpResponse;
}
namespace caiexport::json {
class Document;
enum class Kind : std::uint32_t;
}  // namespace caiexport::json

namespace caiexport::platform {

/// A value and the place where it stands. A field that is absent, null or `{}` is "missing": Catalog writes a property
/// without a value as `{}` ("Catalog Service API guide", filtering).
/// Ids, times and lengths come as numbers in one answer and as strings in the next, so the readers below take both; a
/// number such as 5.0 counts as the integer 5. Nothing is ever rounded or wrapped.
class Json {
 public:
  /// The answer's body. `request` ("GET https://...") begins every error. Error(protocol) if it is not a JSON object or
  /// array, is nested deeper than 128 levels or holds more than a million values; the message shows how the body
  /// begins.
  static Json parse(const net::HttpResponse& response, std::string request);
  /// The same without an error: nothing if the body can't be read.
  static std::optional<Json> tryParse(const std::string& body);

  bool exists() const;
  bool isObject() const;
  bool isArray() const;
  bool isText() const;

  /// The member of an object; missing if there is none, or if this is no object.
  Json at(std::string_view key) const;
  /// A member's name as a value of its own, for lists that are keyed by id.
  Json key(std::string_view name) const;
  /// The elements of an array, in order. Error(protocol) if it is not one.
  std::vector<Json> elements() const;
  /// The members of an object, in the order of the answer. Error(protocol) if it is not one.
  std::vector<std::pair<std::string, Json>> members() const;

  /// A string, or a number's digits. Error(protocol) if missing or of another type.
  std::string text() const;
  /// The same; a missing one is empty.
  std::string textOrEmpty() const;
  /// Nothing if it is missing or of another type.
  std::optional<std::string> textIfAny() const;
  /// The string itself, as long as any value of the answer lives. Nothing if it is no string.
  std::optional<std::string_view> stringIfAny() const;
  /// text() that can be an id of the platform (model::isWellFormedId), for ids that go into URLs and paths.
  std::string id() const;

  /// A whole number from 0 to 2^64-1, or a string of its digits. Error(protocol) otherwise.
  std::uint64_t unsignedNumber() const;
  /// Nothing if it is missing, negative or not a whole number.
  std::optional<std::uint64_t> unsignedIfAny() const;
  /// Milliseconds since 1970. Error(protocol) if missing or not a time that this program can hold.
  core::TimePoint time() const;
  /// The same; nothing if missing. `unit` is what the number counts.
  std::optional<core::TimePoint> timeIfAny(std::chrono::milliseconds unit = std::chrono::milliseconds(1)) const;

  /// true or false, also as a word. Nothing if it is missing or of another type.
  std::optional<bool> flagIfAny() const;

  /// "GET https://...: the field data[3].length", for messages.
  std::string place() const;
  [[noreturn]] void fail(const std::string& why) const;

 private:
  struct Source;
  enum class Is { value, missing, name };

  Json(std::shared_ptr<const Source> source, std::uint32_t node) : source_(std::move(source)), node_(node) {}
  bool is(json::Kind kind) const;
  const json::Document& document() const;
  std::optional<std::int64_t> signedNumber() const;

  std::shared_ptr<const Source> source_;
  std::uint32_t node_;  ///< Of what is missing, or a name: the value that it is not in, or is in.
  Is what_ = Is::value;
  std::string below_ = {};  ///< What is missing under the node, as a path, or the name.
};

/// Of those members the first that is a text or a number, and not empty; empty if none is.
std::string firstText(const Json& from, std::initializer_list<const char*> keys);

/// How a body begins, in one printable line of at most 200 characters, without anything that follows "Bearer".
std::string excerpt(const std::string& body);

}  // namespace caiexport::platform
