/// Answers and refusals that all services share, IMS, the gateway in front of them, and two small services that only
/// tell what there is.
#include "simulator/service.h"

#include <algorithm>
#include <stdexcept>

#include "caiexport/core/text.h"

namespace caiexport::simulator {
namespace {

Response imsError(int status, const std::string& error, const std::string& description) {
  return jsonAnswer(status, object({{"error", error}, {"error_description", description}}));
}

/// All parameters may come in the body or in the query: Adobe's pages show both.
Query formOf(const Call& call) {
  const std::string type(headerOf(call.request.headers, "Content-Type").value_or(""));
  if (!call.request.body.empty() && !type.starts_with("application/x-www-form-urlencoded")) {
    throw Refused{imsError(400, "invalid_request", "Content-Type must be application/x-www-form-urlencoded")};
  }
  try {
    return Query(call.request.body);
  } catch (const std::invalid_argument&) {
    throw Refused{imsError(400, "invalid_request", "the form can't be read")};
  }
}

std::string parameter(const Call& call, const Query& form, std::string_view name) {
  const auto given = form.has(name) ? form.get(name) : call.query.get(name);
  if (!given || given->empty()) {
    throw Refused{imsError(400, name == "scope" ? "invalid_scope" : "invalid_request",
                           "parameter " + std::string(name) + " is missing")};
  }
  return *given;
}

std::string newToken(State& state) {
  return "sim-token-" + std::to_string(++state.statistics.tokensIssued) + "-" + core::newUuid();
}

bool isValidToken(State& state, std::string_view token) {
  if (token == state.scenario.accessToken) return true;
  const auto known = state.tokens.find(std::string(token));
  return known != state.tokens.end() && state.now() < known->second;
}

void checkToken(State& state, const Call& call) {
  constexpr std::string_view kBearer = "Bearer ";
  const auto authorization = headerOf(call.request.headers, "Authorization");
  if (!authorization) throw Refused{gatewayError("403010", "Oauth token is missing.")};
  if (!authorization->starts_with(kBearer) || !isValidToken(state, authorization->substr(kBearer.size()))) {
    throw Refused{gatewayError("401013", "Oauth token is not valid")};
  }
}

}  // namespace

Response jsonAnswer(int status, const Json& body) {
  return {.status = status, .headers = {{"Content-Type", "application/json"}}, .body = textOf(body)};
}

Response gatewayError(const std::string& code, const std::string& message) {
  return jsonAnswer(std::stoi(code.substr(0, 3)), object({{"error_code", code}, {"message", message}}));
}

Response placeholderProblem(int status, const std::string& title, const std::string& detail) {
  return jsonAnswer(
      status, object({{"type", "/placeholder/type/uri"}, {"status", status}, {"title", title}, {"detail", detail}}));
}

Response problem(int status, const std::string& code, const std::string& title, const std::string& detail) {
  Response response =
      jsonAnswer(status, object({{"type", "http://ns.adobe.com/aep/errors/" + code + "-" + std::to_string(status)},
                                 {"title", title},
                                 {"status", status},
                                 {"detail", detail},
                                 {"report", object({{"additionalContext", detail}})},
                                 {"error-chain", array()}}));
  response.setHeader("Content-Type", "application/problem+json");
  return response;
}

Response notFound(const std::string& what) {
  return placeholderProblem(404, "NotFoundError", what + " not found");
}

Response methodNotAllowed() {
  return placeholderProblem(405, "MethodNotAllowedError", "this method is not served here");
}

Json bodyOf(const Call& call) {
  const std::string type(headerOf(call.request.headers, "Content-Type").value_or(""));
  if (!type.starts_with("application/json")) {
    throw Refused{placeholderProblem(415, "UnsupportedMediaTypeError", "Content-Type must be application/json")};
  }
  try {
    return parseJson(call.request.body);
  } catch (const std::invalid_argument& error) {
    throw Refused{placeholderProblem(400, "BadRequestError", error.what())};
  }
}

std::uint64_t numberIn(const Call& call, std::string_view name, std::uint64_t otherwise, std::uint64_t least,
                       std::uint64_t most) {
  const auto text = call.query.get(name);
  if (!text) return otherwise;
  const auto number = core::parseUnsigned(*text);
  if (!number || *number < least || *number > most) {
    throw Refused{placeholderProblem(
        400, "BadRequestError",
        std::string(name) + " must be a number from " + std::to_string(least) + " to " + std::to_string(most))};
  }
  return *number;
}

std::string linkOrigin(State& state, const Call& call) {
  const std::string authority(headerOf(call.request.headers, "Host").value_or("localhost"));
  const std::string& scheme = call.request.scheme;
  if (!state.scenario.hrefOrigin.empty()) {
    std::string origin = state.scenario.hrefOrigin;
    for (const auto& [mark, value] : {std::pair{"{authority}", &authority}, std::pair{"{scheme}", &scheme}}) {
      if (const std::size_t at = origin.find(mark); at != std::string::npos) {
        origin.replace(at, std::string_view(mark).size(), *value);
      }
    }
    return origin;
  }
  const bool hasPort = authority.find(':', authority.starts_with('[') ? authority.find(']') : 0) != std::string::npos;
  const bool explicitPort = state.scenario.hrefPort == "explicit" ||
                            (state.scenario.hrefPort == "alternate" && (state.alternatePort = !state.alternatePort));
  const std::string port = explicitPort && !hasPort ? (scheme == "https" ? ":443" : ":80") : "";
  return scheme + "://" + authority + port;
}

Response ims(State& state, Call& call) {
  call.route = call.rawPath;
  if (call.rawPath != "/ims/token/v3") return imsError(404, "not_found", "no such path");
  if (call.request.method != "POST") return imsError(405, "invalid_request", "only POST is served here");
  const Query form = formOf(call);
  if (parameter(call, form, "grant_type") != "client_credentials") {
    return imsError(400, "unsupported_grant_type", "grant_type must be client_credentials");
  }
  const std::string client = parameter(call, form, "client_id");
  const std::string secret = parameter(call, form, "client_secret");
  parameter(call, form, "scope");
  if (client != state.scenario.clientId || secret != state.scenario.clientSecret) {
    return imsError(401, "invalid_client", "invalid client_id or client_secret");
  }
  const std::string token = newToken(state);
  state.tokens[token] = state.now() + std::chrono::seconds(state.scenario.tokenLifetimeSeconds);
  return jsonAnswer(
      200,
      object({{"access_token", token}, {"token_type", "bearer"}, {"expires_in", state.scenario.tokenLifetimeSeconds}}));
}

// Which error wins when several headers are missing is not documented: key, token, organisation, sandbox is a guess.
void checkIdentity(State& state, const Call& call) {
  const Headers& headers = call.request.headers;
  const auto key = headerOf(headers, "x-api-key");
  if (!key) throw Refused{gatewayError("403000", "Api Key is required")};
  if (*key != state.scenario.clientId) throw Refused{gatewayError("403003", "Api Key is invalid")};
  checkToken(state, call);
  const auto organization = headerOf(headers, "x-gw-ims-org-id");
  if (!organization) throw Refused{gatewayError("400003", "Missing header")};
  if (!organization->ends_with("@AdobeOrg")) throw Refused{gatewayError("403027", "User region is missing")};
  if (*organization != state.scenario.organization) throw Refused{gatewayError("403025", "Profile is not valid")};
}

void checkSandbox(const State& state, Call& call) {
  const auto sandbox = headerOf(call.request.headers, "x-sandbox-name");
  if (!sandbox) throw Refused{gatewayError("400003", "Missing header")};
  const auto& known = state.scenario.sandboxes;
  if (std::find(known.begin(), known.end(), *sandbox) == known.end()) {
    throw Refused{problem(403, "SMS-5002", "Sandbox access denied", "no such sandbox for this credential")};
  }
  call.sandbox = *sandbox;
}

Response schemaRegistry(State&, Call& call) {
  call.route = call.rawPath;
  if (!call.isGet() || call.path != std::vector<std::string>{"tenant", "unions"}) {
    return notFound("schema registry resource");
  }
  const auto accept = headerOf(call.request.headers, "Accept");
  if (!accept || !accept->starts_with("application/vnd.adobe.xed")) {
    return problem(400, "XDM-1501", "Invalid Accept header", "Accept must be application/vnd.adobe.xed-id+json");
  }
  return jsonAnswer(200, object({{"results", array({object({{"title", "XDM Individual Profile"},
                                                            {"$id", kProfileUnionSchema},
                                                            {"meta:altId", "_xdm.context.profile__union"},
                                                            {"version", "1"}})})},
                                 {"_page", object({{"count", 1}})},
                                 {"_links", object()}}));
}

Response sandboxManagement(State& state, Call& call) {
  call.route = call.rawPath;
  if (!call.isGet() || call.path.size() != 1 || (call.path[0] != "sandboxes" && !call.path[0].empty())) {
    return notFound("sandbox management resource");
  }
  const JsonArray list = listOf(state.scenario.sandboxes, [](const std::string& name) {
    const bool production = name == "prod";
    return object({{"name", name},
                   {"title", name},
                   {"state", "active"},
                   {"type", production ? "production" : "development"},
                   {"region", "VA7"},
                   {"isDefault", production},
                   {"eTag", 1}});
  });
  return jsonAnswer(200, object({{"sandboxes", list}, {"_page", object({{"count", list->size()}})}}));
}

}  // namespace caiexport::simulator
