#include "simulator/json.h"

#include <Poco/Exception.h>
#include <Poco/JSON/ParseHandler.h>
#include <Poco/JSON/Parser.h>
#include <Poco/JSON/Stringifier.h>

#include <sstream>
#include <stdexcept>

#include "caiexport/core/error.h"

namespace caiexport::simulator {

JsonObject object(std::initializer_list<std::pair<const char*, Json>> fields) {
  JsonObject made = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
  for (const auto& [key, value] : fields) made->set(key, value);
  return made;
}

JsonArray array(std::initializer_list<Json> elements) {
  JsonArray made = new Poco::JSON::Array;
  for (const Json& element : elements) made->add(element);
  return made;
}

std::string textOf(const Json& value) {
  std::ostringstream out;
  Poco::JSON::Stringifier::stringify(value, out);
  return out.str();
}

Json parseJson(const std::string& text) {
  try {
    Poco::JSON::Parser parser(new Poco::JSON::ParseHandler(true));
    return parser.parse(text);
  } catch (const Poco::Exception& error) {
    throw std::invalid_argument(error.displayText());
  }
}

std::optional<std::string> stringIn(const JsonObject& from, const std::string& key) {
  const Json value = from->get(key);
  return value.isString() ? std::optional(value.extract<std::string>()) : std::nullopt;
}

JsonObject objectIn(const JsonObject& from, const std::string& key) {
  return asObject(from->get(key));
}

JsonArray arrayIn(const JsonObject& from, const std::string& key) {
  return asArray(from->get(key));
}

JsonObject asObject(const Json& value) {
  return value.type() == typeid(JsonObject) ? value.extract<JsonObject>() : JsonObject{};
}

JsonArray asArray(const Json& value) {
  return value.type() == typeid(JsonArray) ? value.extract<JsonArray>() : JsonArray{};
}

void refuseKey(const std::string& key, const std::string& why) {
  throw core::Error(core::Category::usage, "scenario: " + key + " " + why,
                    {.hint = "src/simulator/scenarios/README.md lists the keys"});
}

std::uint64_t readCount(const std::string& key, const Json& value) {
  const std::int64_t number = readInteger(key, value);
  if (number < 0) refuseKey(key, "must not be negative");
  return static_cast<std::uint64_t>(number);
}

std::int64_t readInteger(const std::string& key, const Json& value) {
  if (!value.isInteger() || value.isBoolean()) refuseKey(key, "must be an integer");
  return value.convert<std::int64_t>();
}

bool readFlag(const std::string& key, const Json& value) {
  if (!value.isBoolean()) refuseKey(key, "must be true or false");
  return value.convert<bool>();
}

std::string readText(const std::string& key, const Json& value) {
  if (!value.isString()) refuseKey(key, "must be a text");
  return value.convert<std::string>();
}

std::vector<std::string> readTexts(const std::string& key, const Json& value) {
  const JsonArray list = asArray(value);
  if (!list) refuseKey(key, "must be a list of texts");
  std::vector<std::string> texts;
  for (const Json& element : *list) texts.push_back(readText(key, element));
  return texts;
}

}  // namespace caiexport::simulator
