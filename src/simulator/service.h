#pragma once
/// What the simulated services share: a parsed call, refusals, and one function per service.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "simulator/fault.h"
#include "simulator/message.h"
#include "simulator/service.h"
#include "simulator/state.h"

namespace caiexport::simulator {

struct Call {
  const Request& request;
  std::string rawPath = {};            ///< As sent, without the query.
  std::vector<std::string> path = {};  ///< Decoded segments; the services' own base is cut off.
  Query query = {};
  std::string sandbox = {};
  ListHints list = {};
  bool ignoreRange = false;
  std::string route = {};  ///< For the statistics: the path with ids as {id}.

  bool isGet() const { return request.method == "GET"; }
};

/// Ends a call early.
struct Refused {
  Response response;
};

Response jsonAnswer(int status, const Json& body);
/// `{"error_code", "message"}`, the shape of the gateway; the first three digits are the status.
Response gatewayError(const std::string& code, const std::string& message);
/// `{"type": "/placeholder/type/uri", "status", "title", "detail"}`: Catalog's shape.
Response placeholderProblem(int status, const std::string& title, const std::string& detail);
/// application/problem+json with a report, as newer services answer.
Response problem(int status, const std::string& code, const std::string& title, const std::string& detail);
Response notFound(const std::string& what);
Response methodNotAllowed();

/// The request's body as JSON; throws Refused with 400 where it is not, or where its Content-Type is another.
Json bodyOf(const Call& call);
/// A whole number in the query, or `otherwise` where there is none; throws Refused with 400 outside the bounds.
std::uint64_t numberIn(const Call& call, std::string_view name, std::uint64_t otherwise, std::uint64_t least,
                       std::uint64_t most);
/// `SCHEME://AUTHORITY` for links in an answer, as the scenario wants it.
std::string linkOrigin(State& state, const Call& call);

/// Refuses a call without a key, a valid token and the organisation.
void checkIdentity(State& state, const Call& call);
/// Refuses a call without a known sandbox, and notes the sandbox.
void checkSandbox(const State& state, Call& call);

Response ims(State& state, Call& call);
Response catalog(State& state, Call& call);
/// Rows in the files of a batch that failed.
std::uint64_t rowsRefused(const Scenario& scenario);
Response dataAccess(State& state, Call& call);
Response segmentation(State& state, Call& call);
Response schemaRegistry(State& state, Call& call);
Response sandboxManagement(State& state, Call& call);
/// `/_simulator/...`
Response control(State& state, Call& call);
/// Changes scenario keys; makes the score batches anew if the world's shape changed.
void changeScenario(State& state, const std::string& json);
JsonObject shownState(const State& state);

// What export jobs and segment jobs have in common.

Response exportJobs(State& state, Call& call);

/// The job that counted the segment's members last; nothing if none has.
std::optional<SegmentJob> lastEvaluationOf(const State& state, const Segment& segment);
/// How many members every segment has.
std::int64_t membersOfEach(const State& state);

/// The ids of `[{"segmentId": ...}]`; throws Refused for one that is not known (`*` stands for all).
std::vector<std::string> checkedSegments(State& state, const Call& call, const JsonArray& list);

/// A poll moves a job on: to `result` once there were `pollsNeeded`, to CANCELLED from CANCELLING.
void moveOn(JobState& job, std::uint64_t pollsNeeded, const std::string& result, const std::string& unknownStatus,
            core::TimePoint now);

JsonObject timeSpan(const JobState& job);
JsonArray jobErrors(const std::string& message);
Response cancelAnswer(const State& state, const std::string& what);

}  // namespace caiexport::simulator
