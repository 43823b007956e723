/// Reading fault rules from JSON.
#include <algorithm>
#include <functional>
#include <map>
#include <stdexcept>

#include "simulator/fault.h"
#include "simulator/scenario_keys.h"

namespace caiexport::simulator {
namespace {

using Reader = std::function<void(FaultAction&, const std::string& key, const Json& value)>;

std::string textOrJson(const Json& value) {
  return value.isString() ? value.convert<std::string>() : textOf(value);
}

void readHeaders(FaultAction& action, const std::string& key, const Json& value) {
  const JsonObject headers = asObject(value);
  if (!headers) {
    refuseKey(key, "must be an object of texts");
  }
  for (const std::string& name : headers->getNames()) {
    action.headers.emplace_back(name, textOrJson(headers->get(name)));
  }
}

void readRedirect(FaultAction& action, const std::string& key, const Json& value) {
  const JsonObject redirect = asObject(value);
  if (!redirect || !redirect->has("location")) {
    refuseKey(key, "must be an object with location and, if not 302, status");
  }
  action.status = redirect->has("status") ? static_cast<int>(readInteger("status", redirect->get("status"))) : 302;
  action.headers.emplace_back("Location", readText("location", redirect->get("location")));
  action.body = "";
}

void readInterim(FaultAction& action, const std::string& key, const Json& value) {
  const JsonObject detailed = asObject(value);
  const Json status = detailed ? detailed->get("status") : value;
  action.transport.interimStatus = static_cast<int>(readInteger(key, status));
  if (detailed && detailed->has("count")) {
    action.transport.interimCount = static_cast<int>(readInteger(key, detailed->get("count")));
  }
}

void readWrongRange(FaultAction& action, const std::string& key, const Json& value) {
  const JsonObject wrong = asObject(value);
  if (!wrong || (!wrong->has("shift") && !wrong->has("shorter"))) {
    refuseKey(key, "must be an object with shift or shorter");
  }
  if (wrong->has("shift")) {
    action.rangeShift = readInteger("shift", wrong->get("shift"));
  }
  if (wrong->has("shorter")) {
    action.rangeShorter = readCount("shorter", wrong->get("shorter"));
  }
}

/// `true` for an empty body, a number for so many bytes of it.
std::uint64_t bytesOf(const std::string& key, const Json& value) {
  return value.isBoolean() ? 0 : readCount(key, value);
}

Reader lost(Transport::Ending ending, bool carriedOut) {
  return [ending, carriedOut](FaultAction& action, const std::string& key, const Json& value) {
    action.transport.answerLost = readFlag(key, value);
    action.transport.ending = ending;
    if (carriedOut) {
      action.carryOut = true;
    }
  };
}

Reader endsAfter(Transport::Ending ending) {
  return [ending](FaultAction& action, const std::string& key, const Json& value) {
    action.transport.endAfterBytes = bytesOf(key, value);
    action.transport.ending = ending;
  };
}

Reader listHint(bool ListHints::*hint) {
  return [hint](FaultAction& action, const std::string& key, const Json& value) {
    action.list.*hint = readFlag(key, value);
  };
}

const std::map<std::string, Reader>& answerReaders() {
  static const std::map<std::string, Reader> readers = {
      {"status",
       [](FaultAction& a, const std::string& k, const Json& v) { a.status = static_cast<int>(readInteger(k, v)); }},
      {"headers", readHeaders},
      {"body", [](FaultAction& a, const std::string&, const Json& v) { a.body = textOrJson(v); }},
      {"body_html", [](FaultAction& a, const std::string& k, const Json& v) { a.body = readText(k, v); }},
      {"retry_after", [](FaultAction& a, const std::string&, const Json& v) { a.retryAfter = textOrJson(v); }},
      {"redirect", readRedirect},
      {"huge_json", [](FaultAction& a, const std::string& k, const Json& v) { a.hugeJsonBytes = readCount(k, v); }},
      {"deep_json", [](FaultAction& a, const std::string& k, const Json& v) { a.deepJsonLevels = readCount(k, v); }},
      {"ignore_range", [](FaultAction& a, const std::string& k, const Json& v) { a.ignoreRange = readFlag(k, v); }},
      {"wrong_range", readWrongRange},
      {"loop_next", listHint(&ListHints::loopNext)},
      {"empty_page_with_next", listHint(&ListHints::emptyWithNext)},
      {"repeat_page", listHint(&ListHints::repeatPage)},
      {"shift_start",
       [](FaultAction& a, const std::string& k, const Json& v) { a.list.shiftStart = readInteger(k, v); }},
      {"carry_out", [](FaultAction& a, const std::string& k, const Json& v) { a.carryOut = readFlag(k, v); }},
  };
  return readers;
}

const std::map<std::string, Reader>& transportReaders() {
  using Ending = Transport::Ending;
  using std::chrono::milliseconds;
  static const std::map<std::string, Reader> readers = {
      {"reset_before_headers", lost(Ending::reset, false)},
      {"close_without_answer", lost(Ending::close, false)},
      {"take_then_lose", lost(Ending::close, true)},
      {"reset_in_body", endsAfter(Ending::reset)},
      {"short_body", endsAfter(Ending::close)},
      {"stall_headers",
       [](FaultAction& a, const std::string& k, const Json& v) { a.transport.stallBeforeHeaders = readFlag(k, v); }},
      {"stall_body",
       [](FaultAction& a, const std::string& k, const Json& v) { a.transport.stallAfterBytes = bytesOf(k, v); }},
      {"stall_ms", [](FaultAction& a, const std::string& k,
                      const Json& v) { a.transport.stallFor = milliseconds(readCount(k, v)); }},
      {"drip",
       [](FaultAction& a, const std::string& k, const Json& v) { a.transport.bytesPerSecond = readCount(k, v); }},
      {"cut_after_ms", [](FaultAction& a, const std::string& k,
                          const Json& v) { a.transport.cutAfter = milliseconds(readCount(k, v)); }},
      {"long_body",
       [](FaultAction& a, const std::string& k, const Json& v) { a.transport.extraBytes = readCount(k, v); }},
      {"chunked", [](FaultAction& a, const std::string& k, const Json& v) { a.transport.chunked = readFlag(k, v); }},
      {"truncated_chunked",
       [](FaultAction& a, const std::string& k, const Json& v) { a.transport.truncatedChunked = readFlag(k, v); }},
      {"stale_keep_alive",
       [](FaultAction& a, const std::string& k, const Json& v) { a.transport.staleKeepAlive = readFlag(k, v); }},
      {"interim_1xx", readInterim},
  };
  return readers;
}

FaultAction readAction(const Json& json) {
  const JsonObject parsed = asObject(json);
  if (!parsed || parsed->size() == 0) {
    refuseKey("faults: do", "must be an object with at least one action");
  }
  FaultAction action;
  for (const std::string& key : parsed->getNames()) {
    const auto answer = answerReaders().find(key);
    const auto transport = transportReaders().find(key);
    if (answer != answerReaders().end()) {
      answer->second(action, "faults: " + key, parsed->get(key));
    } else if (transport != transportReaders().end()) {
      transport->second(action, "faults: " + key, parsed->get(key));
    } else {
      refuseKey("faults: '" + key + "'", "is not an action");
    }
  }
  return action;
}

void readMatch(FaultRule& rule, const Json& json) {
  const JsonObject match = asObject(json);
  if (!match) {
    refuseKey("faults: match", "must be an object");
  }
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

}  // namespace

FaultRule parseFaultRule(const Json& json) {
  const JsonObject parsed = asObject(json);
  if (!parsed) {
    refuseKey("faults", "must be a list of objects");
  }
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
  if (!parsed->has("do")) {
    refuseKey("faults: do", "is missing");
  }
  return rule;
}

}  // namespace caiexport::simulator
