#pragma once
/// Poco's JSON with the settings that the simulator needs: keys keep their order (a Catalog answer's order means
/// something).

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace caiexport::simulator {

using Json = Poco::Dynamic::Var;
using JsonObject = Poco::JSON::Object::Ptr;
using JsonArray = Poco::JSON::Array::Ptr;

JsonObject object(std::initializer_list<std::pair<const char*, Json>> fields = {});
JsonArray array(std::initializer_list<Json> elements = {});

/// `show` of each item.
template <class Items, class Show>
JsonArray listOf(const Items& items, Show show) {
  JsonArray made = array();
  for (const auto& item : items) made->add(show(item));
  return made;
}

std::string textOf(const Json& value);
/// Throws std::invalid_argument with the parser's reason.
Json parseJson(const std::string& text);

/// Members with a type check: nothing if absent or of another type.
std::optional<std::string> stringIn(const JsonObject& from, const std::string& key);
JsonObject objectIn(const JsonObject& from, const std::string& key);
JsonArray arrayIn(const JsonObject& from, const std::string& key);

/// Null if the value is not an object, or not an array.
JsonObject asObject(const Json& value);
JsonArray asArray(const Json& value);

// Typed values of scenarios and commands: core::Error(usage) names the key.
[[noreturn]] void refuseKey(const std::string& key, const std::string& why);
std::uint64_t readCount(const std::string& key, const Json& value);
std::int64_t readInteger(const std::string& key, const Json& value);
bool readFlag(const std::string& key, const Json& value);
std::string readText(const std::string& key, const Json& value);
std::vector<std::string> readTexts(const std::string& key, const Json& value);

}  // namespace caiexport::simulator
