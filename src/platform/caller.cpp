#include "caller.h"

#include <limits>
#include <unordered_set>

#include "caiexport/core/error.h"
#include "caiexport/core/log.h"
#include "caiexport/core/secret.h"
#include "caiexport/core/text.h"
#include "caiexport/platform/auth.h"
#include "problem.h"

namespace caiexport::platform {
namespace {

using core::Category;

constexpr core::Duration::rep kUnknownSkew = std::numeric_limits<core::Duration::rep>::min();
/// "Catalog Service API guide": unfiltered answers can pass 3 GB. A page as this client asks for it has some 100 KB.
constexpr std::uint64_t kMostBodyBytes = 16U << 20U;

/// A header's value must not end its line: net refuses it too, but then names no setting.
void checkHeaderValue(const char* name, const std::string& value) {
  for (const char c : value) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) continue;
    throw core::Error(Category::config, std::string(name) + " holds a line break or another control character",
                      {.hint = "remove it from the settings"});
  }
}

std::string withoutSlash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

net::Origin originOf(const std::string& baseUrl) {
  try {
    return net::parseUrl(baseUrl).origin;
  } catch (const core::Error& error) {
    throw core::Error(Category::config, std::string("base_url can't be used: ") + error.what());
  }
}

std::string targetOf(const Call& call, const net::HttpResponse& response) {
  const auto location = response.headers.get("Location");
  if (!location) return "nowhere (it names no Location)";
  try {
    return net::parseUrl(net::resolveReference(call.url, *location)).origin.toString();
  } catch (const core::Error&) {
    return "an address that can't be used";
  }
}

Category categoryFor(int status, const std::string& code) {
  // The gateway misses a header that a setting fills.
  if (code == "400003") return Category::config;
  if (status == 401) return Category::auth;
  if (status == 403) return Category::permission;
  if (status == 404) return Category::notFound;
  if (status == 416) return Category::verification;
  if (status >= 400 && status < 500) return Category::remoteFailed;
  return status >= 500 && status < 600 ? Category::unavailable : Category::protocol;
}

/// A create-once request that got such an answer was refused before anything was done. The page of a proxy tells
/// nothing of what the platform did: it may stand in the place of a lost answer.
bool wasSurelyRefused(const net::HttpResponse& response) {
  const int status = response.status;
  // RFC 9110, section 15.4.4: 303 is how a server says that a POST was carried out.
  return status >= 300 && status < 500 && status != 303 && status != 408 && isOfPlatform(response);
}

constexpr int kMostEmptyPages = 3;

[[noreturn]] void throwEndless(const Call& call, const std::string& why) {
  throw core::Error(Category::protocol, "cannot " + call.what + ": " + Caller::requestLine(call) + ": " + why,
                    {.hint = "the platform's list doesn't end; try again later"});
}

}  // namespace

Caller::Caller(ClientSettings settings, net::HttpTransport& transport, TokenSource& tokens, core::Clock& clock,
               core::Random& random, core::Log& log)
    : baseUrl_(withoutSlash(settings.baseUrl)),
      origin_(originOf(settings.baseUrl)),
      settings_(std::move(settings)),
      transport_(transport),
      tokens_(tokens),
      retrying_{settings_.retry, clock, random, log},
      skewMs_(kUnknownSkew) {
  checkHeaderValue("client_id", settings_.apiKey);
  checkHeaderValue("org_id", settings_.orgId);
  checkHeaderValue("sandbox", settings_.sandbox);
}

net::HttpResponse Caller::send(const Call& call, net::BodySink* sink, std::stop_token stop) {
  bool renewed = false;
  for (int tries = 1;;) {
    throwIfStopped(stop);
    const core::Secret token = tokens_.token(stop);
    try {
      std::optional<net::HttpResponse> response = attempt(call, token, renewed, sink, stop);
      if (response) return std::move(*response);
    } catch (const core::TransientError& failure) {
      if (call.asksForLess && failure.cause().tooSlow) throw;
      if (call.repeat == Repeat::never) {
        throw core::TransientError("cannot " + call.what + ": " + failure.what(), failure.cause(),
                                   {.requestId = failure.requestId(), .hint = failure.hint()});
      }
      if (call.repeat == Repeat::once && failure.cause().mayHaveArrived) {
        throwInDoubt(call, failure.what(), {.requestId = failure.requestId()});
      }
      retrying_.waitForNextTry(call.what, tries, failure, stop);
      ++tries;
    }
  }
}

/// 203 is what a proxy made of the answer; the others would be answers to something else.
bool Caller::isAnswerTo(const Call& call, int status) {
  switch (status) {
    case 200:
      return true;
    case 201:
    case 202:
    case 204:
      return call.method != "GET";
    case 206:
      return !call.range.empty();
    default:
      return false;
  }
}

/// Nothing: the token was renewed, ask again.
std::optional<net::HttpResponse> Caller::attempt(const Call& call, const core::Secret& token, bool& renewed,
                                                 net::BodySink* sink, std::stop_token stop) {
  net::HttpResponse response = exchange(call, token, sink, stop);
  const Verdict verdict = classify(response, retrying_.clock.now());
  switch (verdict.outcome) {
    case Outcome::success:
      if (isAnswerTo(call, response.status)) return response;
      throwRefused(call, response);
    case Outcome::authExpired:
      if (call.repeat == Repeat::once && !isOfPlatform(response)) throwRefused(call, response);
      if (renewed || !tokens_.reject(token)) throwRefused(call, response);
      renewed = true;
      return std::nullopt;
    case Outcome::transient:
      break;
    case Outcome::permanent:
      if (response.status == 404 && call.mayBeMissing && isOfPlatform(response)) return response;
      throwRefused(call, response);
  }
  const Problem problem = readProblem(response);
  throw core::TransientError(
      requestLine(call) + " was answered by " + describe(response, problem),
      {.retryAfter = verdict.retryAfter,
       .throttled = verdict.throttled,
       // 429 comes from the gateway, or from a service that has taken nothing on.
       .mayHaveArrived = response.status != 429,
       .tooSlow = response.status == 504},
      {.requestId = problem.requestId, .hint = remedyFor(response.status, problem.code), .code = problem.code});
}

net::HttpResponse Caller::exchange(const Call& call, const core::Secret& token, net::BodySink* sink,
                                   std::stop_token stop) {
  net::HttpResponse response;
  transport_.keepSecret(token.reveal());
  const core::SteadyTime sent = retrying_.clock.steadyNow();
  try {
    response = transport_.send(requestFor(call, token), sink, stop);
  } catch (const core::TransientError&) {
    throw;
  } catch (const core::Error& error) {
    // Stopped or broken between the first byte out and the last byte in: nobody can tell.
    const bool unknown = error.category() == Category::interrupted || error.category() == Category::protocol;
    if (call.repeat == Repeat::once && unknown) throwInDoubt(call, error.what(), {.requestId = error.requestId()});
    throw;
  }
  // The body of a download takes its time: its Date would look old.
  if (sink == nullptr) {
    noteDate(response);
    noteAnswer(retrying_.clock.steadyNow() - sent);
  }
  if (log().wants(core::LogLevel::debug)) {
    log().write(core::LogLevel::debug, "answer",
                {{"what", call.what},
                 {"status", response.status},
                 {"request_id", core::printable(response.headers.get("x-request-id").value_or(""), 100)}});
  }
  return response;
}

net::HttpRequest Caller::requestFor(const Call& call, const core::Secret& token) const {
  net::HttpRequest request{.method = call.method,
                           .url = call.url,
                           .body = call.body,
                           .once = call.repeat == Repeat::once,
                           .mostBodyBytes = kMostBodyBytes};
  request.headers.reserve(8);
  request.headers.add("Accept", call.accept);
  request.headers.add("Authorization", std::string("Bearer ").append(token.reveal()));
  request.headers.add("x-api-key", settings_.apiKey);
  request.headers.add("x-gw-ims-org-id", settings_.orgId);
  request.headers.add("x-sandbox-name", settings_.sandbox);
  // "Segmentation Service API": a new one for each request.
  if (call.traced) request.headers.add("x-request-id", core::newUuid());
  if (!call.range.empty()) request.headers.add("Range", call.range);
  if (!call.ifRange.empty()) request.headers.add("If-Range", call.ifRange);
  if (!call.body.empty()) request.headers.add("Content-Type", "application/json");
  request.oneOfMany = call.oneOfMany;
  for (const std::string& url : call.next) {
    request.next.push_back(
        requestFor({.what = call.what, .url = url, .accept = call.accept, .oneOfMany = true}, token));
  }
  return request;
}

void Caller::throwRefused(const Call& call, const net::HttpResponse& response) const {
  const Problem problem = readProblem(response);
  std::string text = requestLine(call) + " was answered by " + describe(response, problem);
  core::Error::Details details{
      .requestId = problem.requestId, .hint = remedyFor(response.status, problem.code), .code = problem.code};
  if (call.repeat == Repeat::once && !wasSurelyRefused(response)) throwInDoubt(call, text, std::move(details));
  if (response.status == 404 && !isOfPlatform(response)) {
    throw core::Error(Category::protocol,
                      "cannot " + call.what + ": " + text + ", answered by something that is not the platform",
                      {.requestId = problem.requestId,
                       .hint = "it says nothing about whether something exists: check base_url (it is " +
                               origin_.toString() + "), and whether a proxy answers in the platform's place"});
  }
  if (response.status >= 200 && response.status < 300) {
    text += ", which is not an answer to this request";
    details.hint = response.status == 203
                       ? "a proxy on the way has changed what the platform said: go around it (NO_PROXY), or have it "
                         "leave the platform's answers as they are"
                       : "check whether a proxy answers instead of the platform; base_url is " + origin_.toString();
  }
  if (response.status >= 300 && response.status < 400) {
    text += ", a redirect to " + targetOf(call, response) + ", which was not followed";
    details.hint = "check base_url (it is " + origin_.toString() + ")";
  }
  throw core::Error(categoryFor(response.status, problem.code), "cannot " + call.what + ": " + text,
                    std::move(details));
}

void Caller::throwInDoubt(const Call& call, const std::string& reason, core::Error::Details details) {
  details.hint = "look whether it was done before asking again";
  throw InDoubt("cannot tell whether the platform took the request to " + call.what + ": " + reason,
                std::move(details));
}

std::optional<Json> Caller::findJson(Call call, std::stop_token stop) {
  call.mayBeMissing = true;
  const net::HttpResponse response = send(call, stop);
  if (response.status == 404) return std::nullopt;
  return parse(call, response);
}

Json Caller::parse(const Call& call, const net::HttpResponse& response) {
  return Json::parse(response, "cannot " + call.what + ": " + requestLine(call));
}

std::string Caller::requestLine(const Call& call) {
  return call.method + " " + core::printable(call.url, 500);
}

void Caller::noteAnswer(std::chrono::nanoseconds took) {
  std::chrono::nanoseconds shortest = shortestAnswer_;
  while (took < shortest && !shortestAnswer_.compare_exchange_weak(shortest, took)) {
  }
}

std::optional<std::chrono::nanoseconds> Caller::shortestAnswer() const {
  const std::chrono::nanoseconds shortest = shortestAnswer_;
  if (shortest == std::chrono::nanoseconds::max()) return std::nullopt;
  return shortest;
}

void Caller::noteDate(const net::HttpResponse& response) {
  const auto date = parseHttpDate(response.headers.get("Date").value_or(""));
  if (date) skewMs_ = (retrying_.clock.now() - *date).count();
}

std::optional<core::Duration> Caller::clockSkew() const {
  const core::Duration::rep skew = skewMs_;
  return skew == kUnknownSkew ? std::nullopt : std::optional(core::Duration(skew));
}

core::TimePoint Caller::serverNow() const {
  return retrying_.clock.now() - clockSkew().value_or(core::Duration::zero());
}

void followPages(Caller& caller, Call call,
                 const std::function<Page(const Call& call, const net::HttpResponse& response)>& read,
                 std::stop_token stop) {
  std::unordered_set<std::string> visited;
  int emptyPages = 0;
  while (true) {
    visited.insert(call.url);
    const Page page = read(call, caller.send(call, stop));
    if (!page.next) return;
    if (page.entries > 0 && page.fresh == 0 && !page.mayRepeat)
      throwEndless(call, "the page repeats earlier ones and leads on");
    emptyPages = page.entries == 0 ? emptyPages + 1 : 0;
    if (emptyPages > kMostEmptyPages) throwEndless(call, "empty pages follow each other");
    if (visited.contains(*page.next)) throwEndless(call, "the list loops: its next link was followed before");
    call.url = *page.next;
  }
}

}  // namespace caiexport::platform
