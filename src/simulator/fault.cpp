#include "simulator/fault.h"

#include <Poco/Exception.h>
#include <Poco/RegularExpression.h>
#include <Poco/String.h>

#include <algorithm>
#include <functional>
#include <map>
#include <stdexcept>

#include "caiexport/core/text.h"

namespace caiexport::simulator {
namespace {

using Reader = std::function<void(FaultAction&, const std::string& key, const Json& value)>;

std::string textOrJson(const std::string&, const Json& value) {
  return value.isString() ? value.convert<std::string>() : textOf(value);
}

int readSmall(const std::string& key, const Json& value) {
  return static_cast<int>(readInteger(key, value));
}

void readHeaders(FaultAction& action, const std::string& key, const Json& value) {
  const JsonObject headers = asObject(value);
  if (!headers) refuseKey(key, "must be an object of texts");
  for (const std::string& name : headers->getNames())
    action.headers.emplace_back(name, textOrJson(key, headers->get(name)));
}

void readRedirect(FaultAction& action, const std::string& key, const Json& value) {
  const JsonObject redirect = asObject(value);
  if (!redirect || !redirect->has("location")) {
    refuseKey(key, "must be an object with location and, if not 302, status");
  }
  action.status = redirect->has("status") ? readSmall("status", redirect->get("status")) : 302;
  action.headers.emplace_back("Location", readText("location", redirect->get("location")));
  action.body = "";
}

void readInterim(FaultAction& action, const std::string& key, const Json& value) {
  const JsonObject detailed = asObject(value);
  const Json status = detailed ? detailed->get("status") : value;
  action.transport.interimStatus = readSmall(key, status);
  if (detailed && detailed->has("count")) {
    action.transport.interimCount = readSmall(key, detailed->get("count"));
  }
}

void readWrongRange(FaultAction& action, const std::string& key, const Json& value) {
  const JsonObject wrong = asObject(value);
  if (!wrong || (!wrong->has("shift") && !wrong->has("shorter"))) {
    refuseKey(key, "must be an object with shift or shorter");
  }
  if (wrong->has("shift")) action.rangeShift = readInteger("shift", wrong->get("shift"));
  if (wrong->has("shorter")) action.rangeShorter = readCount("shorter", wrong->get("shorter"));
}

/// `true` for an empty body, a number for so many bytes of it.
std::uint64_t bytesOf(const std::string& key, const Json& value) {
  return value.isBoolean() ? 0 : readCount(key, value);
}

Reader lost(Transport::Ending ending, bool carriedOut) {
  return [ending, carriedOut](FaultAction& action, const std::string& key, const Json& value) {
    action.transport.answerLost = readFlag(key, value);
    action.transport.ending = ending;
    if (carriedOut) action.carryOut = true;
  };
}

Reader endsAfter(Transport::Ending ending) {
  return [ending](FaultAction& action, const std::string& key, const Json& value) {
    action.transport.endAfterBytes = bytesOf(key, value);
    action.transport.ending = ending;
  };
}

std::chrono::milliseconds readTime(const std::string& key, const Json& value) {
  return std::chrono::milliseconds(readCount(key, value));
}

/// What `read` makes of the value goes into that member, or the member of a member.
template <class Read, class... Members>
Reader set(Read read, Members... members) {
  return [=](FaultAction& action, const std::string& key, const Json& value) {
    (action.*....*members) = read(key, value);
  };
}

const std::map<std::string, Reader>& readers() {
  using Ending = Transport::Ending;
  constexpr auto kList = &FaultAction::list;
  constexpr auto kTransport = &FaultAction::transport;
  static const std::map<std::string, Reader> table = {
      {"status", set(readSmall, &FaultAction::status)},
      {"headers", readHeaders},
      {"body", set(textOrJson, &FaultAction::body)},
      {"body_html", set(readText, &FaultAction::body)},
      {"retry_after", set(textOrJson, &FaultAction::retryAfter)},
      {"redirect", readRedirect},
      {"huge_json", set(readCount, &FaultAction::hugeJsonBytes)},
      {"deep_json", set(readCount, &FaultAction::deepJsonLevels)},
      {"ignore_range", set(readFlag, &FaultAction::ignoreRange)},
      {"wrong_range", readWrongRange},
      {"loop_next", set(readFlag, kList, &ListHints::loopNext)},
      {"empty_page_with_next", set(readFlag, kList, &ListHints::emptyWithNext)},
      {"repeat_page", set(readFlag, kList, &ListHints::repeatPage)},
      {"shift_start", set(readInteger, kList, &ListHints::shiftStart)},
      {"carry_out", set(readFlag, &FaultAction::carryOut)},
      {"reset_before_headers", lost(Ending::reset, false)},
      {"close_without_answer", lost(Ending::close, false)},
      {"take_then_lose", lost(Ending::close, true)},
      {"reset_in_body", endsAfter(Ending::reset)},
      {"short_body", endsAfter(Ending::close)},
      {"stall_headers", set(readFlag, kTransport, &Transport::stallBeforeHeaders)},
      {"stall_body", set(bytesOf, kTransport, &Transport::stallAfterBytes)},
      {"stall_ms", set(readTime, kTransport, &Transport::stallFor)},
      {"drip", set(readCount, kTransport, &Transport::bytesPerSecond)},
      {"cut_after_ms", set(readTime, kTransport, &Transport::cutAfter)},
      {"long_body", set(readCount, kTransport, &Transport::extraBytes)},
      {"chunked", set(readFlag, kTransport, &Transport::chunked)},
      {"truncated_chunked", set(readFlag, kTransport, &Transport::truncatedChunked)},
      {"stale_keep_alive", set(readFlag, kTransport, &Transport::staleKeepAlive)},
      {"interim_1xx", readInterim},
  };
  return table;
}

FaultAction readAction(const Json& json) {
  const JsonObject parsed = asObject(json);
  if (!parsed || parsed->size() == 0) refuseKey("faults: do", "must be an object with at least one action");
  FaultAction action;
  for (const std::string& key : parsed->getNames()) {
    const auto reader = readers().find(key);
    if (reader == readers().end()) refuseKey("faults: '" + key + "'", "is not an action");
    reader->second(action, "faults: " + key, parsed->get(key));
  }
  return action;
}

void readMatch(FaultRule& rule, const Json& json) {
  const JsonObject match = asObject(json);
  if (!match) refuseKey("faults: match", "must be an object");
  for (const std::string& key : match->getNames()) {
    const std::string value = readText("faults: match: " + key, match->get(key));
    if (key == "method") {
      rule.method = value;
    } else if (key == "header") {
      rule.header = value;
    } else if (key == "path") {
      rule.path = value;
      try {
        rule.pattern = Pattern(value);
      } catch (const std::invalid_argument& error) {
        refuseKey("faults: match: path", error.what());
      }
    } else {
      refuseKey("faults: match: '" + key + "'", "is not known");
    }
  }
}

bool matches(const FaultRule& rule, const Request& request) {
  return (rule.method.empty() || rule.method == request.method) && rule.pattern.occursIn(request.target) &&
         (rule.header.empty() || headerOf(request.headers, rule.header));
}

bool isDue(const FaultRule& rule) {
  return rule.seen > rule.skip && (rule.seen - rule.skip - 1) % rule.every == 0 &&
         (!rule.times || rule.fired < *rule.times);
}

std::string deepJson(std::uint64_t levels) {
  return "{\"data\":" + std::string(levels, '[') + std::string(levels, ']') + "}";
}

std::string hugeJson(std::uint64_t bytes) {
  const std::string head = "{\"data\":[{\"name\":\"";
  const std::string tail = "\",\"length\":\"1\"}]}";
  const std::uint64_t frame = head.size() + tail.size();
  return head + std::string(bytes > frame ? bytes - frame : 0, 'x') + tail;
}

/// Header values may speak of the request: a redirect's Location does.
std::string filledIn(std::string value, const Request& request) {
  Poco::replaceInPlace(value, std::string("{scheme}"), request.scheme);
  Poco::replaceInPlace(value, std::string("{authority}"), std::string(headerOf(request.headers, "Host").value_or("")));
  Poco::replaceInPlace(value, std::string("{target}"), request.target);
  return value;
}

std::string retryAfterValue(const std::string& wish, core::TimePoint now) {
  constexpr std::string_view kPrefix = "date+";
  if (!wish.starts_with(kPrefix)) return wish;
  const auto seconds = core::parseUnsigned(std::string_view(wish).substr(kPrefix.size())).value_or(0);
  return httpDate(now + std::chrono::seconds(seconds));
}

void setBody(Response& response, std::string body, const std::string& type) {
  response.content.reset();
  response.offsetBytes = response.lengthBytes = 0;
  response.body = std::move(body);
  response.setHeader("Content-Type", type);
}

void replaceBody(const FaultAction& action, Response& response) {
  if (action.hugeJsonBytes > 0) {
    setBody(response, hugeJson(action.hugeJsonBytes), "application/json");
  } else if (action.deepJsonLevels > 0) {
    setBody(response, deepJson(action.deepJsonLevels), "application/json");
  } else if (action.body) {
    setBody(response, *action.body, action.body->starts_with("<") ? "text/html" : "application/json");
  }
}

void distortRange(const FaultAction& action, Response& response) {
  if (!response.content || response.status != 206) return;
  const std::uint64_t total = response.content->sizeBytes();
  if (action.rangeShift != 0) {
    const auto shifted = static_cast<std::int64_t>(response.offsetBytes) + action.rangeShift;
    response.offsetBytes = std::min(static_cast<std::uint64_t>(std::max<std::int64_t>(shifted, 0)), total);
    response.lengthBytes = std::min(response.lengthBytes, total - response.offsetBytes);
  }
  if (action.rangeShorter > 0 && response.lengthBytes > action.rangeShorter) {
    response.lengthBytes -= action.rangeShorter;
  }
  response.setHeader("Content-Range", contentRange(response.offsetBytes, response.lengthBytes, total));
}

}  // namespace

Pattern::Pattern(const std::string& expression) {
  try {
    compiled_ = std::make_shared<const Poco::RegularExpression>(expression);
  } catch (const Poco::Exception& error) {
    throw std::invalid_argument("'" + expression + "' is not a regular expression: " + error.displayText());
  }
}

bool Pattern::occursIn(const std::string& text) const {
  Poco::RegularExpression::Match match{};
  return !compiled_ || compiled_->match(text, match) > 0;
}

FaultRule parseFaultRule(const Json& json) {
  const JsonObject parsed = asObject(json);
  if (!parsed) refuseKey("faults", "must be a list of objects");
  FaultRule rule;
  for (const std::string& key : parsed->getNames()) {
    const Json value = parsed->get(key);
    if (key == "match") {
      readMatch(rule, value);
    } else if (key == "skip") {
      rule.skip = readCount("faults: skip", value);
    } else if (key == "every") {
      rule.every = std::max<std::uint64_t>(1, readCount("faults: every", value));
    } else if (key == "times") {
      const std::int64_t times = readInteger("faults: times", value);
      rule.times = times < 0 ? std::nullopt : std::optional(static_cast<std::uint64_t>(times));
    } else if (key == "do") {
      rule.action = readAction(value);
    } else {
      refuseKey("faults: '" + key + "'", "is not known");
    }
  }
  if (!parsed->has("do")) refuseKey("faults: do", "is missing");
  return rule;
}

bool FaultAction::reachesPlatform() const {
  if (carryOut) return *carryOut;
  const bool answered = !status && !body && hugeJsonBytes == 0 && deepJsonLevels == 0;
  return answered && !transport.answerLost && !transport.stallBeforeHeaders;
}

const FaultAction* pickFault(std::vector<FaultRule>& rules, const Request& request) {
  for (FaultRule& rule : rules) {
    if (!matches(rule, request)) continue;
    ++rule.seen;
    if (!isDue(rule)) continue;
    ++rule.fired;
    return &rule.action;
  }
  return nullptr;
}

Response faultAnswer(const FaultAction& action, const Request& request, core::TimePoint now) {
  Response response{.status = 200, .headers = {{"Content-Type", "application/json"}}, .body = "{}"};
  distort(action, request, now, response);
  return response;
}

void distort(const FaultAction& action, const Request& request, core::TimePoint now, Response& response) {
  response.status = action.status.value_or(response.status);
  replaceBody(action, response);
  distortRange(action, response);
  if (!action.retryAfter.empty()) response.setHeader("Retry-After", retryAfterValue(action.retryAfter, now));
  for (const auto& [name, value] : action.headers) response.setHeader(name, filledIn(value, request));
  response.transport = action.transport;
}

}  // namespace caiexport::simulator
