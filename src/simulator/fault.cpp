#include "simulator/fault.h"

#include <algorithm>
#include <charconv>

#include "caiexport/core/text.h"

namespace caiexport::simulator {
namespace {

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

void replaceAll(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

/// Header values may speak of the request: a redirect's Location does.
std::string filledIn(std::string value, const Request& request) {
  replaceAll(value, "{scheme}", request.scheme);
  replaceAll(value, "{authority}", headerOf(request.headers, "Host").value_or(""));
  replaceAll(value, "{target}", request.target);
  return value;
}

std::string retryAfterValue(const std::string& wish, core::TimePoint now) {
  constexpr std::string_view prefix = "date+";
  if (!wish.starts_with(prefix)) {
    return wish;
  }
  const auto seconds = core::parseUnsigned(std::string_view(wish).substr(prefix.size())).value_or(0);
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
  if (!response.content || response.status != 206) {
    return;
  }
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

bool FaultAction::reachesPlatform() const {
  if (carryOut) {
    return *carryOut;
  }
  const bool answered = !status && !body && hugeJsonBytes == 0 && deepJsonLevels == 0;
  return answered && !transport.answerLost && !transport.stallBeforeHeaders;
}

const FaultAction* pickFault(std::vector<FaultRule>& rules, const Request& request) {
  for (FaultRule& rule : rules) {
    if (matches(rule, request)) {
      ++rule.seen;
      if (isDue(rule)) {
        ++rule.fired;
        return &rule.action;
      }
    }
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
  if (!action.retryAfter.empty()) {
    response.setHeader("Retry-After", retryAfterValue(action.retryAfter, now));
  }
  for (const auto& [name, value] : action.headers) {
    response.setHeader(name, filledIn(value, request));
  }
  response.transport = action.transport;
}

}  // namespace caiexport::simulator
