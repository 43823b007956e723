#include "simulator/world.h"

#include <algorithm>
#include <exception>
#include <stdexcept>

#include "caiexport/core/text.h"
#include "simulator/service.h"

namespace caiexport::simulator {
namespace {

/// Of a path that begins with a slash.
std::vector<std::string> segmentsOf(std::string_view path) {
  std::vector<std::string> segments;
  while (path.starts_with('/')) {
    path.remove_prefix(1);
    const std::size_t slash = std::min(path.find('/'), path.size());
    segments.push_back(percentDecode(path.substr(0, slash), false));
    path.remove_prefix(slash);
  }
  return segments;
}

void readTarget(Call& call) {
  const std::string_view target = call.request.target;
  const std::size_t mark = target.find('?');
  call.rawPath = std::string(target.substr(0, mark));
  try {
    call.query = Query(mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1));
    if (!call.rawPath.starts_with('/')) throw std::invalid_argument("no path");
  } catch (const std::invalid_argument&) {
    throw Refused{placeholderProblem(400, "BadRequestError", "the target can't be read")};
  }
}

constexpr std::string_view kBatchList = "/data/foundation/catalog/batches";

using Service = Response (*)(State&, Call&);

struct Base {
  std::string_view path;
  Service service;
  bool inSandbox;
};

constexpr Base kBases[] = {
    {"/data/foundation/catalog/", catalog, true},
    {"/data/foundation/export/", dataAccess, true},
    {"/data/core/ups/", segmentation, true},
    {"/data/foundation/schemaregistry/", schemaRegistry, true},
    {"/data/foundation/sandbox-management/", sandboxManagement, false},
};

Response route(State& state, Call& call) {
  if (call.rawPath.starts_with("/ims/")) return ims(state, call);
  for (const Base& base : kBases) {
    if (call.rawPath.starts_with(base.path)) {
      checkIdentity(state, call);
      if (base.inSandbox) checkSandbox(state, call);
      call.path = segmentsOf(std::string_view(call.rawPath).substr(base.path.size() - 1));
      return base.service(state, call);
    }
  }
  return notFound(call.rawPath);
}

/// A stand-in for the route of a call that never came so far: the path with long segments as {id}.
std::string roughRoute(const std::string& path) {
  std::string rough;
  for (const std::string& segment : segmentsOf(path)) {
    const bool isId =
        segment.size() > 18 || (!segment.empty() && std::isdigit(static_cast<unsigned char>(segment[0])) != 0);
    rough += "/" + (isId ? "{id}" : segment);
  }
  return rough;
}

Response answer(State& state, Call& call) {
  const FaultAction* fault = pickFault(state.scenario.faults, call.request);
  state.statistics.faultsFired += fault != nullptr ? 1 : 0;
  if (fault != nullptr && !fault->reachesPlatform()) return faultAnswer(*fault, call.request, state.now());
  if (fault != nullptr) {
    call.list = fault->list;
    call.ignoreRange = fault->ignoreRange;
  }
  Response response;
  try {
    response = route(state, call);
  } catch (const Refused& refused) {
    response = refused.response;
  }
  if (fault != nullptr) distort(*fault, call.request, state.now(), response);
  return response;
}

Response answerAny(State& state, const Request& request) {
  Call call{.request = request};
  Response response;
  try {
    readTarget(call);
    if (call.rawPath != kBatchList) state.listed.reset();
    if (call.rawPath.starts_with("/_simulator/")) return control(state, call);
    response = answer(state, call);
  } catch (const Refused& refused) {
    response = refused.response;
  } catch (const std::exception& error) {
    response = placeholderProblem(500, "InternalServerError", error.what());
  }
  const std::string routeName = call.route.empty() ? roughRoute(call.rawPath) : call.route;
  // What a client sends need not be text, e.g. a TLS handshake to a plain port; the counters are shown as JSON.
  ++state.statistics.requests[core::printable(request.method + " " + routeName, 200)];
  ++state.statistics.answers[response.status];
  return response;
}

}  // namespace

World::World(Scenario scenario, DataSource& data, core::Clock& clock)
    : state_{.scenario = std::move(scenario), .data = data, .clock = clock} {
  populate(state_);
}

Response World::handle(const Request& request) {
  const std::lock_guard lock(mutex_);
  Response response = answerAny(state_, request);
  response.setHeader("Date", httpDate(state_.now()));
  response.setHeader("X-Request-Id", "sim-request-" + std::to_string(++requestNumber_));
  return response;
}

void World::advance(std::chrono::seconds by) {
  const std::lock_guard lock(mutex_);
  state_.advanced += by;
}

void World::change(const std::string& scenarioJson) {
  const std::lock_guard lock(mutex_);
  state_.listed.reset();
  changeScenario(state_, scenarioJson);
}

void World::prepare() {
  const std::lock_guard lock(mutex_);
  Batch* newest =
      newestOf(state_.batches, [](const Batch& batch) { return batch.status != "failed" && batch.isOrdinary(); });
  if (newest != nullptr) makeFiles(state_, *newest);
}

Statistics World::statistics() const {
  const std::lock_guard lock(mutex_);
  return state_.statistics;
}

std::string World::stateJson() const {
  const std::lock_guard lock(mutex_);
  return textOf(shownState(state_));
}

void World::countServed(const Response& response, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  state_.statistics.bytesServed += bytes;
  state_.statistics.fileBytesServed += response.content ? bytes : 0;
}

void World::countConnection() {
  const std::lock_guard lock(mutex_);
  ++state_.statistics.connections;
}

void World::countHandshake() {
  const std::lock_guard lock(mutex_);
  ++state_.statistics.handshakes;
}

void World::requestBegins() {
  const std::lock_guard lock(mutex_);
  Statistics& statistics = state_.statistics;
  statistics.mostInFlight = std::max(statistics.mostInFlight, ++statistics.requestsInFlight);
}

void World::requestEnds() {
  const std::lock_guard lock(mutex_);
  --state_.statistics.requestsInFlight;
}

}  // namespace caiexport::simulator
