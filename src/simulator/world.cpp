#include "simulator/world.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <stdexcept>

#include "caiexport/core/clock.h"
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

struct World::Guarded {
  std::mutex mutex = {};
  std::uint64_t requestNumber = 0;
  State state;
};

World::World(Scenario scenario, DataSource& data, core::Clock& clock)
    : guarded_(new Guarded{.state = State{.scenario = std::move(scenario), .data = data, .clock = clock}}) {
  populate(guarded_->state);
}

World::~World() = default;

Response World::handle(const Request& request) {
  const std::lock_guard lock(guarded_->mutex);
  Response response = answerAny(guarded_->state, request);
  response.setHeader("Date", httpDate(guarded_->state.now()));
  response.setHeader("X-Request-Id", "sim-request-" + std::to_string(++guarded_->requestNumber));
  return response;
}

void World::advance(std::chrono::seconds by) {
  const std::lock_guard lock(guarded_->mutex);
  guarded_->state.advanced += by;
}

void World::change(const std::string& scenarioJson) {
  const std::lock_guard lock(guarded_->mutex);
  changeScenario(guarded_->state, scenarioJson);
}

void World::prepare() {
  const std::lock_guard lock(guarded_->mutex);
  State& state = guarded_->state;
  Batch* newest = nullptr;
  for (Batch& batch : state.batches) {
    const bool counts = batch.status != "failed" && batch.isOrdinary();
    newest = counts && (newest == nullptr || newest->created <= batch.created) ? &batch : newest;
  }
  if (newest != nullptr) makeFiles(state, *newest);
}

Statistics World::statistics() const {
  const std::lock_guard lock(guarded_->mutex);
  return guarded_->state.statistics;
}

std::string World::stateJson() const {
  const std::lock_guard lock(guarded_->mutex);
  return textOf(shownState(guarded_->state));
}

void World::countServed(const Response& response, std::uint64_t bytes) {
  const std::lock_guard lock(guarded_->mutex);
  guarded_->state.statistics.bytesServed += bytes;
  guarded_->state.statistics.fileBytesServed += response.content ? bytes : 0;
}

void World::countConnection() {
  const std::lock_guard lock(guarded_->mutex);
  ++guarded_->state.statistics.connections;
}

void World::countHandshake() {
  const std::lock_guard lock(guarded_->mutex);
  ++guarded_->state.statistics.handshakes;
}

void World::requestBegins() {
  const std::lock_guard lock(guarded_->mutex);
  Statistics& statistics = guarded_->state.statistics;
  statistics.mostInFlight = std::max(statistics.mostInFlight, ++statistics.requestsInFlight);
}

void World::requestEnds() {
  const std::lock_guard lock(guarded_->mutex);
  --guarded_->state.statistics.requestsInFlight;
}

}  // namespace caiexport::simulator
