#include "simulator/service.h"

#include <stdexcept>

#include "caiexport/core/text.h"

namespace caiexport::simulator {

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

}  // namespace caiexport::simulator
