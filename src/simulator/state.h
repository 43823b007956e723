#pragma once
/// Everything that the simulated platform knows. Guarded by the World's mutex.

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "caiexport/core/clock.h"
#include "simulator/content.h"
#include "simulator/json.h"
#include "simulator/scenario.h"

namespace caiexport::simulator {

struct Dataset {
  std::string id = {};
  std::string sandbox = {};
  std::string name = {};
  std::string description = {};
  std::string schemaId = {};
  std::string contentType = "application/vnd.adobe.xed+json;version=1";
  JsonObject tags = {};
  core::TimePoint created = {};
  std::string createdClient = {};
};

/// A file as a listing shows it.
struct ListedFile {
  std::string name = {};
  ContentPtr content = {};
  std::uint64_t records = 0;
};

/// What GET /files/{id} lists: files, or further ids.
struct Directory {
  std::vector<ListedFile> files = {};
  std::vector<std::string> folders = {};  ///< Names of entries of length 0 below which the rest lies.
  std::vector<std::string> childIds = {};
  std::unordered_map<std::string, std::size_t> byName = {};
};

struct Batch {
  std::string id = {};
  std::string datasetId = {};
  std::string sandbox = {};
  std::string status = {};
  std::string createdClient = {};
  std::string createdUser = {};  ///< Empty: as the client.
  core::TimePoint created = {};
  DataRequest data = {};
  bool consolidation = false;     ///< Data Access refuses it.
  std::string relatedBatch = {};  ///< Named beside the dataset: Profile's own notes.
  std::vector<std::string> predecessors = {};
  std::string replayReason = "new scores replace the last ones";
  std::string externalId = {};
  std::vector<std::string> predecessorsByExternalId = {};
  std::uint64_t hiddenLookUps = 0;            ///< Not found so many times more.
  std::list<std::string> earlyStatuses = {};  ///< Shown before `status`, one a look-up.
  /// Data Access has files of it, or had before it was replaced; else it is a consolidation, or Profile's own.
  bool isOrdinary() const { return !consolidation && relatedBatch.empty(); }
  bool made = false;  ///< The files exist: they are made when first listed.
  std::vector<std::string> datasetFileIds = {};
};

/// What a query of Catalog's batches found, for the pages that follow: until anything else is asked of the platform.
struct ListedBatches {
  std::string query = {};
  std::vector<std::pair<const Batch*, std::string>> batches = {};  ///< With the status that is shown.
  bool lasts = true;                                               ///< Looking at them changes none of them.
};

struct Segment {
  std::string id = {};
  std::string sandbox = {};
  std::string name = {};
  std::string description = {};
  std::string space = {};  ///< Of an audience of another origin, e.g. "AAM"; empty: a segment of the platform's own.
  std::string origin = {};
};

struct JobState {
  std::string status = "NEW";
  std::uint64_t polls = 0;
  core::TimePoint created = {};
  core::TimePoint updated = {};
  bool vanished = false;
};

struct ExportJob {
  std::uint64_t number = 0;
  std::string sandbox = {};
  JobState state = {};
  JsonObject request = {};
  std::string datasetId = {};
  bool perSegment = false;
  std::vector<std::string> segmentIds = {};
  std::vector<std::string> batchIds = {};  ///< One, or one for each segment.
  std::uint64_t profiles = 0;
};

struct SegmentJob {
  std::string id = {};
  std::string sandbox = {};
  JobState state = {};
  std::vector<std::string> segmentIds = {};
};

/// What the platform saw; for assertions.
struct Statistics {
  std::uint64_t tokensIssued = 0;
  std::uint64_t datasetsCreated = 0;
  std::uint64_t datasetsDeleted = 0;
  std::uint64_t exportJobsAccepted = 0;
  std::uint64_t segmentJobsAccepted = 0;
  std::uint64_t unfilteredExports = 0;  ///< Exports of every profile: a client must never start one.
  std::uint64_t faultsFired = 0;
  std::map<std::string, std::uint64_t> requests = {};  ///< By method and route.
  std::map<int, std::uint64_t> answers = {};           ///< By status.

  // Counted by whoever carries the answers.
  std::uint64_t bytesServed = 0;      ///< Of all bodies.
  std::uint64_t fileBytesServed = 0;  ///< Of files' contents.
  std::uint64_t connections = 0;
  std::uint64_t handshakes = 0;
  std::uint64_t requestsInFlight = 0;
  std::uint64_t mostInFlight = 0;
};

struct State {
  Scenario scenario;
  DataSource& data;
  core::Clock& clock;
  std::chrono::seconds advanced{0};
  Statistics statistics = {};

  std::map<std::string, core::TimePoint> tokens = {};  ///< With the time each expires.
  std::vector<Dataset> datasets = {};
  std::list<Batch> batches = {};
  std::optional<ListedBatches> listed = {};
  std::unordered_map<std::string, Directory> directories = {};
  std::vector<Segment> segments = {};
  std::vector<ExportJob> exportJobs = {};
  std::vector<SegmentJob> segmentJobs = {};
  std::uint64_t lastNumber = 0;  ///< For new ids.
  std::uint64_t lastScoreSeed = 0;
  std::uint64_t lastOther = 0;  ///< For ids of batches that are not score batches.
  bool alternatePort = false;

  core::TimePoint now() const { return clock.now() + advanced; }
  Dataset* findDataset(const std::string& id, const std::string& sandbox);
  Batch* findBatch(const std::string& id, const std::string& sandbox);
  Segment* findSegment(const std::string& id, const std::string& sandbox);
};

inline constexpr const char* kScoreDatasetId = "5f0000000000000000000001";
inline constexpr const char* kHighRiskSegmentId = "7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a";
inline constexpr const char* kForeignAudienceId = "21345678";
inline constexpr const char* kProfileUnionSchema = "https://ns.adobe.com/xdm/context/profile__union";

/// Datasets, segments and score batches as the scenario has them.
void populate(State& state);
/// Throws the score batches away and makes them anew.
void rebuildScoreBatches(State& state);

struct NewBatch {
  std::string datasetId = {};
  std::string sandbox = "prod";
  std::string idPrefix = {};
  std::string createdClient = {};
  std::string status = "success";
  core::TimePoint created = {};
  DataRequest data = {};
  bool isOther = false;  ///< Has numbers of its own, so that those of score batches stay what they are.
};
Batch& addBatch(State& state, const NewBatch& wanted);
/// Makes a batch's files, if that has not been done.
void makeFiles(State& state, Batch& batch);
/// The batch that was created last of those that count, the later one of two; null if there is none.
template <class Batches, class Counts>
auto* newestOf(Batches& batches, Counts counts) {
  decltype(&batches.front()) newest = nullptr;
  for (auto& batch : batches) {
    if (counts(batch) && (newest == nullptr || newest->created <= batch.created)) newest = &batch;
  }
  return newest;
}

/// What readable batches replace, where the scenario says that it is not what it was.
std::unordered_set<std::string> supersededIn(const State& state);

/// A number of fixed width, for ids.
std::string padded(std::uint64_t number, std::size_t width, int base = 10);
std::string paddedHex(std::uint64_t number, std::size_t width);

std::int64_t toMilliseconds(core::TimePoint time);

}  // namespace caiexport::simulator
