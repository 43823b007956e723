#include "simulator/catalog_query.h"

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>

#include "caiexport/core/text.h"
#include "simulator/pattern.h"

namespace caiexport::simulator {
namespace {

[[noreturn]] void badRequest(const std::string& detail) {
  throw Refused{placeholderProblem(400, "BadRequestError", detail)};
}

std::optional<std::string> attribute(const CatalogEntry& entry, const std::string& name) {
  if (const auto hidden = entry.hidden.find(name); hidden != entry.hidden.end()) {
    return hidden->second;
  }
  if (!entry.shown->has(name)) {
    return std::nullopt;
  }
  const Json value = entry.shown->get(name);
  return value.isString() || value.isNumeric() || value.isBoolean() ? std::optional(value.convert<std::string>())
                                                                    : std::optional(textOf(value));
}

bool isOneOf(const std::string& value, const std::string& list) {
  for (const std::string& wanted : core::splitList(list)) {
    if (wanted.find('*') == std::string::npos ? value == wanted : matchesWildcard(value, wanted)) {
      return true;
    }
  }
  return false;
}

/// `a,b`: any of them. `!a,b`: none of them.
bool passesSimple(const CatalogEntry& entry, const std::string& name, const std::string& wanted) {
  const std::string value = attribute(entry, name).value_or("");
  return wanted.starts_with('!') ? !isOneOf(value, wanted.substr(1)) : isOneOf(value, wanted);
}

std::int64_t asNumber(const std::string& text) {
  const bool negative = text.starts_with('-');
  const auto number = core::parseUnsigned(negative ? std::string_view(text).substr(1) : std::string_view(text));
  if (!number) {
    badRequest("'" + text + "' is not a number of milliseconds");
  }
  return negative ? -static_cast<std::int64_t>(*number) : static_cast<std::int64_t>(*number);
}

/// Both bounds are exclusive.
bool passesCreated(const CatalogEntry& entry, const std::string& name, const std::string& wanted) {
  const std::int64_t created = asNumber(attribute(entry, "created").value_or("0"));
  return name == "createdAfter" ? created > asNumber(wanted) : created < asNumber(wanted);
}

/// Numbers by value, all else as text; an absent value comes first.
int compareValues(const std::optional<std::string>& left, const std::optional<std::string>& right) {
  const std::string leftText = left.value_or("");
  const std::string rightText = right.value_or("");
  if (core::parseUnsigned(leftText).has_value() && core::parseUnsigned(rightText).has_value()) {
    const std::uint64_t leftNumber = core::parseUnsigned(leftText).value_or(0);
    const std::uint64_t rightNumber = core::parseUnsigned(rightText).value_or(0);
    return leftNumber < rightNumber ? -1 : (leftNumber > rightNumber ? 1 : 0);
  }
  return leftText.compare(rightText);
}

/// `name`, `!name`, or a name, a relation and a value.
struct Condition {
  std::string name = {};
  std::string relation = {};
  std::string value = {};
};

Condition readCondition(const std::string& text) {
  const std::size_t begin = text.starts_with('!') ? 1 : 0;
  const std::size_t end = std::min(text.find_first_of("~=!<>", begin), text.size());
  Condition condition{
      .name = text.substr(begin, end - begin), .relation = begin == 1 ? "absent" : "present", .value = {}};
  const std::string rest = text.substr(end);
  for (const std::string_view relation : {"~", "==", "!=", "<=", ">=", "<", ">"}) {
    if (rest.starts_with(relation)) {
      condition.relation = relation;
      condition.value = rest.substr(relation.size());
      break;
    }
  }
  const bool hasRelation = condition.relation != "absent" && condition.relation != "present";
  if (condition.name.empty() || hasRelation == rest.empty() || (hasRelation && begin == 1)) {
    badRequest("property condition '" + text + "' can't be read");
  }
  return condition;
}

bool found(const std::string& value, const std::string& expression) {
  try {
    return Pattern(expression).occursIn(value);
  } catch (const std::invalid_argument& error) {
    badRequest(error.what());
  }
}

bool holds(const std::string& relation, int order) {
  return (relation == "==" && order == 0) || (relation == "!=" && order != 0) || (relation == "<" && order < 0) ||
         (relation == "<=" && order <= 0) || (relation == ">" && order > 0) || (relation == ">=" && order >= 0);
}

bool passesProperty(const CatalogEntry& entry, const std::string& text) {
  const Condition condition = readCondition(text);
  const auto value = attribute(entry, condition.name);
  if (condition.relation == "present" || condition.relation == "absent") {
    return value.has_value() == (condition.relation == "present");
  }
  if (!value) {
    return false;
  }
  return condition.relation == "~" ? found(*value, condition.value)
                                   : holds(condition.relation, compareValues(value, condition.value));
}

constexpr std::array languageNames = {"limit", "start", "orderBy", "properties"};

bool passes(const CatalogEntry& entry, const std::string& name, const std::string& value) {
  if (std::find(languageNames.begin(), languageNames.end(), name) != languageNames.end()) {
    return true;
  }
  if (name == "createdAfter" || name == "createdBefore") {
    return passesCreated(entry, name, value);
  }
  return name == "property" ? passesProperty(entry, value) : passesSimple(entry, name, value);
}

void checkNames(const Call& call, const std::vector<std::string>& filters) {
  for (const auto& [name, value] : call.query.pairs()) {
    const bool known = std::find(languageNames.begin(), languageNames.end(), name) != languageNames.end() ||
                       std::find(filters.begin(), filters.end(), name) != filters.end() || name == "property";
    if (!known) {
      badRequest("unknown parameter '" + name + "'");
    }
  }
}

struct SortKey {
  std::string name;
  bool descending = false;
};

std::vector<SortKey> sortKeys(const Call& call) {
  std::vector<SortKey> keys;
  for (const std::string& element : core::splitList(call.query.get("orderBy").value_or(""))) {
    const std::size_t colon = element.find(':');
    const std::string direction = colon == std::string::npos ? "asc" : element.substr(0, colon);
    if (direction != "asc" && direction != "desc") {
      badRequest("orderBy takes asc:NAME or desc:NAME");
    }
    keys.push_back(
        {.name = colon == std::string::npos ? element : element.substr(colon + 1), .descending = direction == "desc"});
  }
  return keys;
}

void order(std::vector<CatalogEntry>& entries, const std::vector<SortKey>& keys) {
  std::stable_sort(entries.begin(), entries.end(), [&](const CatalogEntry& left, const CatalogEntry& right) {
    for (const SortKey& key : keys) {
      const int compared = compareValues(attribute(left, key.name), attribute(right, key.name));
      if (compared != 0) {
        return key.descending ? compared > 0 : compared < 0;
      }
    }
    return false;
  });
}

JsonObject project(const JsonObject& whole, const std::optional<std::string>& properties) {
  if (!properties) {
    return whole;
  }
  JsonObject some = object();
  for (const std::string& name : core::splitList(*properties)) {
    if (whole->has(name)) {
      some->set(name, whole->get(name));
    }
  }
  return some;
}

}  // namespace

JsonObject answerQuery(const State& state, const Call& call, std::vector<CatalogEntry> entries,
                       const std::vector<std::string>& filters) {
  checkNames(call, filters);
  std::uint64_t limit = numberIn(call, "limit", 20, 1, 100);
  const Scenario& scenario = state.scenario;
  if (scenario.slowPages > 0 && limit >= scenario.slowPages) {
    throw Refused{
        jsonAnswer(504, object({{"message", "This request timed out on database, please optimize your request"}}))};
  }
  limit = std::min(limit, scenario.catalogPage);
  std::uint64_t start = numberIn(call, "start", 0, 0, INT64_MAX);
  std::erase_if(entries, [&](const CatalogEntry& entry) {
    const auto& pairs = call.query.pairs();
    return !std::all_of(pairs.begin(), pairs.end(), [&](const auto& pair) {
      const auto& ignored = scenario.ignoredFilters;
      return std::find(ignored.begin(), ignored.end(), pair.first) != ignored.end() ||
             passes(entry, pair.first, pair.second);
    });
  });
  order(entries, sortKeys(call));
  if (call.list.repeatPage) {
    start = 0;
  }
  start =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, static_cast<std::int64_t>(start) + call.list.shiftStart));
  const auto properties = call.query.get("properties");
  JsonObject answer = object();
  for (std::uint64_t at = start; at < entries.size() && at - start < limit; ++at) {
    answer->set(entries[at].id, project(entries[at].shown, properties));
  }
  return answer;
}

}  // namespace caiexport::simulator
