#include "problem.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/log.h"
#include "caiexport/core/text.h"
#include "caiexport/net/http.h"
#include "json.h"

namespace caiexport::platform {
namespace {

constexpr std::size_t kLongestText = 400;

struct Remedy {
  std::string_view code;
  std::string_view text;
};

/// Gateway codes: "Adobe Experience Platform troubleshooting guide", section "Request header errors"; OAuth codes:
/// RFC 6749, section 5.2, and the "OAuth Server-to-Server credential API Reference".
constexpr std::array<Remedy, 12> kRemedies{{
    {"403010", "no access token arrived; a proxy may remove the Authorization header"},
    {"401013", "get a new access token, or set client_id and client_secret so that it is renewed by itself"},
    {"403000", "set client_id: it is sent as the API key"},
    {"403003", "check client_id, and that the credential's project has the Experience Platform API"},
    {"400003", "set org_id (it ends in @AdobeOrg)"},
    {"403025", "check org_id: the credential belongs to another organization, or has no product profile in this one"},
    {"403027", "check org_id (it ends in @AdobeOrg), and that the credential has a product profile"},
    {"429050", "the platform asks for fewer requests: wait a while, or lower --connections"},
    {"invalid_client", "check client_id and client_secret: the Developer Console shows both under the credential"},
    {"invalid_scope", "check scopes: the Developer Console lists those of the credential"},
    {"unauthorized_client", "the credential must be of the kind OAuth Server-to-Server: see the Developer Console"},
    {"invalid_request", "check client_id, client_secret and scopes for stray characters"},
}};

std::string remedyForStatus(int status) {
  switch (status) {
    case 401:
      return "check the credentials: the access token is not accepted";
    case 403:
      return "check org_id and sandbox, and that the credential's product profile grants this in Adobe Admin Console";
    case 404:
      return "check the id, the sandbox and the organization: what is in another sandbox can't be seen";
    case 413:
    case 414:
      return "ask for less: fewer fields or a shorter name";
    case 416:
      return "the file may have changed since it was listed: list the batch again";
    case 429:
      return "the platform asks for fewer requests: wait a while, or lower --connections";
    case 500:
    case 502:
    case 503:
    case 504:
      return "the platform is in trouble or busy: try again later";
    default:
      return "";
  }
}

void append(std::string& text, const std::string& part) {
  // One service says the same in `detail` and in its report.
  if (part.empty() || text == part || text.ends_with(": " + part)) return;
  if (!text.empty()) text += ": ";
  text += part;
}

/// The first object under `errors`, which is an array of objects or strings, or an object of arrays by HTTP status.
std::string textOfErrors(const Json& errors) {
  if (errors.isText()) return *errors.textIfAny();
  std::vector<Json> list;
  if (errors.isArray()) list = errors.elements();
  if (errors.isObject()) {
    for (const auto& [key, value] : errors.members()) list.push_back(value);
  }
  for (const Json& error : list) {
    std::string text =
        error.isArray() ? textOfErrors(error) : firstText(error, {"message", "msg", "description", "detail"});
    if (text.empty()) text = error.textIfAny().value_or("");
    if (!text.empty()) return text;
  }
  return {};
}

/// "https://ns.adobe.com/aep/errors/CATALOG-1234-404" is a code in its last part; "/placeholder/type/uri" is none.
std::string codeOfType(const std::string& type) {
  if (type.find("placeholder") != std::string::npos || type == "about:blank") return {};
  return type.substr(type.rfind('/') + 1);
}

std::string codeOf(const Json& body) {
  std::string code = firstText(body, {"error_code", "errorCode", "code"});
  if (code.empty()) code = firstText(body, {"error"});
  if (code.empty()) code = firstText(body.at("error"), {"code"});
  if (code.empty()) code = codeOfType(body.at("type").textIfAny().value_or(""));
  return code;
}

std::string textOf(const Json& body) {
  std::string text = firstText(body, {"error_description"});
  append(text, firstText(body, {"message", "errorMessage", "title"}));
  append(text, firstText(body, {"detail", "cause", "error_message"}));
  if (text.empty()) text = firstText(body.at("error"), {"message"});
  const Json report = body.at("report");
  append(text, firstText(report, {"message", "additionalContext", "detailed-message"}));
  append(text, textOfErrors(report.at("errors")));
  if (text.empty()) text = textOfErrors(body.at("errors"));
  return text;
}

std::optional<core::Duration> waitOf(const Json& body) {
  const std::optional<std::uint64_t> ms = body.at("retryAfterMs").unsignedIfAny();
  // A day is more than any policy grants.
  constexpr std::uint64_t kMost = 24ULL * 3600 * 1000;
  if (!ms) return std::nullopt;
  return core::Duration(static_cast<core::Duration::rep>(std::min(*ms, kMost)));
}

void readBody(const Json& body, Problem& problem) {
  if (body.isArray()) {
    const std::vector<Json> elements = body.elements();
    if (!elements.empty()) readBody(elements.front(), problem);
    return;
  }
  problem.code = core::printable(codeOf(body), 80);
  problem.text = core::printable(textOf(body), kLongestText);
  problem.retryAfter = waitOf(body);
  if (problem.requestId.empty()) problem.requestId = firstText(body, {"requestId", "request_id", "request-id"});
  if (problem.requestId.empty()) problem.requestId = firstText(body.at("report"), {"requestId", "request-id"});
}

// --- Retry-After

/// Longer than any policy grants, and safe to calculate with.
constexpr core::Duration kLongestWish = std::chrono::hours(24);

core::Duration untilDate(core::TimePoint date, const net::HttpResponse& response, core::TimePoint now) {
  const auto sent = parseHttpDate(response.headers.get("Date").value_or(""));
  return std::max(date - sent.value_or(now), core::Duration::zero());
}

}  // namespace

Problem readProblem(const net::HttpResponse& response) {
  Problem problem;
  problem.requestId = response.headers.get("x-request-id").value_or(response.headers.get("request-id").value_or(""));
  if (const std::optional<Json> body = Json::tryParse(response.body)) readBody(*body, problem);
  if (problem.text.empty() && problem.code.empty()) problem.text = excerpt(response.body);
  problem.requestId = core::printable(problem.requestId, 100);
  return problem;
}

bool isOfPlatform(const net::HttpResponse& response) {
  // Catalog and Data Access declare errors without a body.
  const std::string_view text = core::trim(response.body);
  if (text.empty() || text == "{}") return response.headers.get("x-request-id").has_value();
  std::optional<Json> body = Json::tryParse(response.body);
  if (!body) return false;
  if (body->isArray()) {
    const std::vector<Json> elements = body->elements();
    if (elements.empty()) return false;
    body = elements.front();
  }
  // A gateway of somebody else's says {"message": "no Route matched"} or {"error": "Not Found"}, and no more.
  constexpr std::array kAdobes{"type",         "title",     "detail",    "report",     "error-chain",
                               "error_code",   "errorCode", "requestId", "request-id", "request_id",
                               "errorMessage", "errors",    "code"};
  return std::ranges::any_of(kAdobes, [&](const char* key) { return body->at(key).exists(); });
}

std::string describe(const net::HttpResponse& response, const Problem& problem) {
  std::string text = std::to_string(response.status);
  if (!response.reason.empty()) text += " " + core::printable(response.reason, 80);
  std::string inside = problem.code;
  append(inside, problem.text);
  if (!problem.requestId.empty()) inside += (inside.empty() ? "request id " : "; request id ") + problem.requestId;
  return inside.empty() ? text : text + " (" + inside + ")";
}

std::string remedyFor(int status, const std::string& code) {
  for (const Remedy& remedy : kRemedies) {
    if (remedy.code == code) return std::string(remedy.text);
  }
  return remedyForStatus(status);
}

std::optional<core::TimePoint> parseHttpDate(std::string_view text) {
  const std::string date(core::trim(text));
  for (const char* form : {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"}) {
    std::tm parts{};
    if (::strptime(date.c_str(), form, &parts) != date.c_str() + date.size()) continue;
    const std::chrono::year_month_day day(std::chrono::year(1900 + parts.tm_year),
                                          std::chrono::month(static_cast<unsigned>(1 + parts.tm_mon)),
                                          std::chrono::day(static_cast<unsigned>(parts.tm_mday)));
    if (!day.ok()) return std::nullopt;
    return core::TimePoint(std::chrono::sys_days(day)) + std::chrono::hours(parts.tm_hour) +
           std::chrono::minutes(parts.tm_min) + std::chrono::seconds(parts.tm_sec);
  }
  return std::nullopt;
}

std::optional<core::Duration> retryAfterOf(const net::HttpResponse& response, core::TimePoint now) {
  if (const auto header = response.headers.get("Retry-After")) {
    const std::string_view value = core::trim(*header);
    const bool digits = !value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos;
    constexpr auto kMostSeconds = static_cast<std::uint64_t>(std::chrono::seconds(std::chrono::hours(24)).count());
    if (digits) {
      const std::uint64_t seconds = std::min(core::parseUnsigned(value).value_or(kMostSeconds), kMostSeconds);
      return std::chrono::seconds(seconds);
    }
    if (const auto date = parseHttpDate(value)) return std::min(untilDate(*date, response, now), kLongestWish);
  }
  return response.status >= 400 ? readProblem(response).retryAfter : std::nullopt;
}

Verdict classify(const net::HttpResponse& response, core::TimePoint now) {
  if (response.status >= 200 && response.status < 300) return {.outcome = Outcome::success};
  switch (response.status) {
    case 401:
      return {.outcome = Outcome::authExpired};
    case 408:
    case 429:
    case 500:  // "Troubleshooting guide": too many calls at once may be answered so.
    case 502:
    case 503:
    case 504:
      return {.outcome = Outcome::transient,
              .retryAfter = retryAfterOf(response, now),
              .throttled = response.status == 429 || response.status == 503};
    default:
      return {.outcome = Outcome::permanent};
  }
}

void Retrying::waitForNextTry(const std::string& what, int triesMade, const core::TransientError& failure,
                              std::stop_token stop) const {
  throwIfStopped(stop);
  const auto wait = core::waitBeforeNextTry(policy, triesMade, failure.cause().retryAfter, random);
  if (!wait) {
    const std::string tries = triesMade == 1 ? "one try" : std::to_string(triesMade) + " tries";
    throw core::TransientError("cannot " + what + " (" + tries + "): " + failure.what(), failure.cause(),
                               {.requestId = failure.requestId(), .hint = failure.hint(), .code = failure.code()});
  }
  log.write(core::LogLevel::warning, "retry",
            {{"what", what},
             {"try", triesMade},
             {"tries", policy.furtherTries + 1},
             {"wait_ms", wait->count()},
             {"reason", failure.what()},
             {"request_id", failure.requestId()}});
  if (!clock.sleep(*wait, stop)) throw core::Interrupted();
}

void throwIfStopped(std::stop_token stop) {
  if (stop.stop_requested()) throw core::Interrupted();
}

}  // namespace caiexport::platform
