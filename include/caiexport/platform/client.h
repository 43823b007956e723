#pragma once
/// Adobe Experience Platform as functions: one short function per endpoint. Sources: Adobe's page "Download scores in
/// Customer AI", the guides and OpenAPI files of Catalog, Data Access, Segmentation, Schema Registry and Sandboxes.
///
/// Unknown fields are ignored. A missing or mistyped required field is Error(protocol) naming request and field.
/// Reads, the token call and deletes are repeated on transient failures by the retry policy; when the tries are used up
/// the TransientError comes through. 401 renews the token once per request, then Error(auth). 403 is Error(permission),
/// 404 is an empty optional where the function has one, else Error(notFound). Other 4xx: Error(remoteFailed).
/// Every message has the request, the status, Adobe's code and text, the request id and a remedy where one is known.
/// No bearer token ever goes to another origin than the configured one: a link elsewhere is Error(protocol) naming
/// both.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/model/byte_sink.h"
#include "caiexport/model/job.h"

namespace caiexport::core {
class Log;
}
namespace caiexport::net {
class HttpTransport;
}

namespace caiexport::platform {

class TokenSource;

struct ClientSettings {
  std::string baseUrl = {};  ///< Scheme, host, optional port; no path.
  std::string apiKey = {};   ///< The client id.
  std::string orgId = {};
  std::string sandbox = {};
  core::RetryPolicy retry = {};
  /// Files that a listing hands on at once: what the platform puts on one page.
  std::size_t listedTogether = 100;
};

/// The platform may or may not have taken a create-once request: the answer was lost, broken, not the platform's own (a
/// proxy's page), without the id that was asked for, a 408 or a 5xx, or a stop was requested in the middle. Never
/// repeat blindly; look first. Category `unavailable`. (A create-once call that ends in a TransientError was not taken:
/// no byte arrived, or it was a 429.)
class InDoubt : public core::Error {
 public:
  InDoubt(const std::string& message, Details details)
      : Error(core::Category::unavailable, message, std::move(details)) {}
};

// --- Catalog

struct BatchQuery {
  model::DatasetId dataset = {};
  std::string createdClient = {};                             ///< Empty: any.
  std::optional<core::TimePoint> since = {};                  ///< created at or after
  std::optional<core::TimePoint> until = {};                  ///< created before
  std::vector<std::string> statuses = {"success", "active"};  ///< Empty: any.
  std::size_t enough = 100;     ///< How many are asked for first: large pages die on busy datasets.
  bool everyKind = false;       ///< Also what can't be chosen: consolidations, tracking batches, entries with a flaw.
  std::string externalId = {};  ///< Asked of the server only, which may not know it.
};

/// Batch statuses. Source: Catalog OpenAPI enum and "Batch ingestion troubleshooting guide".
enum class BatchPhase { readable, moving, failed, withdrawn, unknown };
BatchPhase phaseOf(const std::string& batchStatus);

/// One of the reasons that Catalog gives for the failure of a batch.
struct BatchError {
  std::string code = {};
  std::string description = {};
  std::vector<std::string> rows = {};  ///< That it concerns, as Catalog names them.
};

/// A batch, with what Catalog says of what went wrong in it.
struct FailedBatch : model::Batch {
  std::vector<BatchError> errors = {};
  std::optional<std::uint64_t> failedRecords = {};  ///< Where Catalog counts them.
};

struct Dataset {
  model::DatasetId id = {};
  std::string name = {};
  std::string description = {};
  std::string schemaId = {};
  core::TimePoint created = {};
  bool snapshot = false;  ///< Holds all profiles by one merge policy, and is replaced every day.
};

/// What a dataset holds, as far as its name and schema tell: nothing else in Catalog marks score datasets.
enum class DatasetUse {
  scores,       ///< Of Customer AI, a row per profile.
  scoreEvents,  ///< The same as events, for Customer Journey Analytics.
  snapshot,     ///< All profiles by one merge policy with their audiences, made anew each day.
  audience,     ///< Made to take exported profiles.
  other
};
DatasetUse useOf(const Dataset& dataset);

struct NewDataset {
  std::string name = {};
  std::string description = {};
};

/// Id of the union schema that audience exports need.
inline constexpr const char* kProfileUnionSchema = "https://ns.adobe.com/xdm/context/profile__union";

// --- Segmentation

/// A segment definition, or an audience of any origin.
struct SegmentDefinition {
  model::SegmentId id = {};
  std::string name = {};
  std::string mergePolicyId = {};
  std::optional<core::TimePoint> updated = {};
  std::string segmentNamespace = {};                ///< Of audiences alone, e.g. "AAM".
  std::string origin = {};                          ///< Of audiences alone: who made it.
  std::string state = {};                           ///< Lifecycle, e.g. "published", where it is told.
  std::optional<core::TimePoint> evaluatedAt = {};  ///< When its members were last counted, where it is told.
  std::optional<std::uint64_t> members = {};        ///< How many there were then.
};

/// Export and segment jobs alike. `moving` covers unknown words: keep polling and show them.
enum class RemotePhase { moving, succeeded, failed, cancelled };

struct RemoteJobProblem {
  std::string code = {};
  std::string message = {};
};

struct SegmentJob {
  model::SegmentJobId id = {};
  std::string status = {};  ///< As sent.
  RemotePhase phase = RemotePhase::moving;
  std::vector<model::SegmentId> segments = {};   ///< What it was asked for; "*" is every segment.
  std::vector<model::SegmentId> evaluated = {};  ///< What it counted the members of.
  core::TimePoint created = {};
  std::optional<core::TimePoint> updated = {};
  std::vector<RemoteJobProblem> problems = {};
  std::string requestId = {};
};

/// What an export job may be asked for beyond its segments and its target.
struct ExportScope {
  std::vector<std::string> fields = {};  ///< Empty: all.
  std::string mergePolicyId = {};        ///< Empty: the segment's own.
  std::optional<std::int64_t> mergePolicyVersion = {};
  std::optional<core::TimePoint> qualifiedSince = {};
  std::optional<core::TimePoint> qualifiedUntil = {};
  std::optional<core::TimePoint> ingestedSince = {};
  bool emptyProfiles = false;
  std::vector<std::string> eventFields = {};  ///< Empty: no events.
  std::optional<core::TimePoint> eventsSince = {};
  std::optional<core::TimePoint> eventsUntil = {};
  bool operator==(const ExportScope&) const = default;
};

struct NewExportJob {
  model::DatasetId dataset = {};
  std::vector<model::SegmentId> segments = {};  ///< Never empty: the platform would export every profile.
  std::string segmentNamespace = {};
  std::vector<std::string> statuses = {};  ///< Empty: what the platform takes by default, which has changed over time.
  ExportScope scope = {};
  bool segmentPerBatch = false;
  std::string schemaName = "_xdm.context.profile";
};

struct ExportJob {
  model::ExportJobId id = {};
  std::string status = {};
  RemotePhase phase = RemotePhase::moving;
  model::DatasetId dataset = {};
  struct Filter {
    model::SegmentId segment = {};
    std::string segmentNamespace = {};
    std::vector<std::string> statuses = {};
  };
  std::vector<Filter> filters = {};
  ExportScope scope = {};
  std::optional<bool> segmentPerBatch = {};
  std::string schemaName = {};
  std::vector<model::BatchId> batches = {};  ///< From batchId or batches, whatever the form; empty ids left out.
  std::optional<std::uint64_t> exportedProfiles = {};
  core::TimePoint created = {};
  std::optional<core::TimePoint> updated = {};
  std::vector<RemoteJobProblem> problems = {};
  std::string requestId = {};
};

// --- Data Access

/// A file that Data Access keeps of a batch that went wrong.
struct FailureFile {
  std::string path = {};  ///< `failed/NAME` or `meta/FOLDER/NAME`: parts that are plain file names.
  model::RemoteFile remote = {};
};

struct Sandbox {
  std::string name = {};
  std::string title = {};
  std::string state = {};
};

/// Thread safe; one object serves any number of threads.
class Client {
 public:
  Client(ClientSettings settings, net::HttpTransport& transport, TokenSource& tokens, core::Clock& clock,
         core::Random& random, core::Log& log);
  ~Client();

  // --- Catalog: batches
  /// Newest first by `created`; pages are fetched as they are needed; `visit` returns false to stop. A batch that two
  /// pages repeat is visited once.
  void forEachBatch(const BatchQuery& query, const std::function<bool(const model::Batch&)>& visit,
                    std::stop_token stop);
  std::optional<model::Batch> findBatch(const model::BatchId& batch, std::stop_token stop);
  /// Those that failed or were given up, newest first, as forEachBatch; also those whose entries are odd. `since`:
  /// created at or after.
  void forEachFailedBatch(const model::DatasetId& dataset, std::optional<core::TimePoint> since,
                          const std::function<bool(const FailedBatch&)>& visit, std::stop_token stop);
  /// A batch of any status.
  std::optional<FailedBatch> findFailedBatch(const model::BatchId& batch, std::stop_token stop);
  /// Adds to the batches' `predecessors` those that they name by external id: one of the list, else one of the dataset
  /// that Catalog finds, whatever its status. The external ids that no batch bears.
  std::vector<std::string> resolvePredecessors(std::span<model::Batch> batches, const model::DatasetId& dataset,
                                               std::stop_token stop);

  // --- Catalog: datasets
  /// Create once: InDoubt if the platform may have taken it.
  model::DatasetId createDataset(const NewDataset& dataset, std::stop_token stop);
  std::optional<Dataset> findDataset(const model::DatasetId& dataset, std::stop_token stop);
  /// Exactly this name; all of them.
  std::vector<Dataset> findDatasetsByName(const std::string& name, std::stop_token stop);
  /// Newest first.
  void forEachDataset(const std::function<bool(const Dataset&)>& visit, std::stop_token stop);
  /// No error if it is not there any more.
  void deleteDataset(const model::DatasetId& dataset, std::stop_token stop);

  // --- Data Access
  /// All files of a batch, up to ClientSettings::listedTogether at a time; directories are walked (at most 8 deep, each
  /// id once). Markers (zero length, name beginning with `_` or `.`) are left out. Names are plain file names of at
  /// most 250 bytes, not ending in `.part` and not `manifest.json`, or Error(protocol); hrefs are same-origin or
  /// Error(protocol), and left empty where they are `/data/foundation/export/files/DATASETFILEID?path=NAME`. A list
  /// that would never end is Error(protocol). Nothing is handed on if there is no file. Where the platform sends a
  /// small Parquet file itself in place of its directory, the file is called `DATASETFILEID.parquet`.
  void listFiles(const model::BatchId& batch, const std::function<void(std::vector<model::RemoteFile>&&)>& page,
                 std::stop_token stop);
  /// What Data Access keeps of the batch under `/failed` and `/meta`, in the order of its lists; folders are walked as
  /// by listFiles, and names are as there. Empty if there is nothing.
  std::vector<FailureFile> listFailureFiles(const model::BatchId& batch, std::stop_token stop);
  /// One attempt (401 aside) at [range.first, range.end). A range that covers the whole file is asked for without a
  /// Range header. TransientError for what may be asked again, from where the sink got to; 404 is Error(notFound); 416,
  /// and a total that is not the listed length, are Error(verification). The sink is begun at most once, and gets no
  /// byte of an error answer. What it throws comes through.
  void fetchFile(const model::RemoteFile& file, model::ByteRange range, model::ByteSink& sink, std::stop_token stop);
  /// Many calls of fetchOneOfMany() are about to come, from so many threads: opens their connections. Does not wait.
  void prepareForMany(unsigned connections);
  /// The whole of a small file, as fetchFile(). The same thread will fetch each of `next` like this, right after it and
  /// in that order: they are asked for ahead where the platform speaks HTTP/2.
  void fetchOneOfMany(const model::RemoteFile& file, std::span<const model::RemoteFile* const> next,
                      model::ByteSink& sink, std::stop_token stop);

  // --- Segmentation
  std::optional<SegmentDefinition> findSegment(const model::SegmentId& segment, std::stop_token stop);
  void forEachSegment(const std::function<bool(const SegmentDefinition&)>& visit, std::stop_token stop);
  /// An audience of any origin.
  std::optional<SegmentDefinition> findAudience(const model::SegmentId& audience, std::stop_token stop);
  /// Audiences of every origin. Error(permission) or Error(notFound) where the platform does not list them.
  void forEachAudience(const std::function<bool(const SegmentDefinition&)>& visit, std::stop_token stop);
  /// Create once.
  SegmentJob startSegmentJob(std::span<const model::SegmentId> segments, std::stop_token stop);
  std::optional<SegmentJob> findSegmentJob(const model::SegmentJobId& job, std::stop_token stop);
  /// Asks to cancel; false if there is no such job.
  bool cancelSegmentJob(const model::SegmentJobId& job, std::stop_token stop);
  /// In whatever order the platform has; `visit` returns false to stop. A job may be half a megabyte: pages are small.
  void forEachSegmentJob(const std::function<bool(const SegmentJob&)>& visit, std::stop_token stop);
  /// Those that succeeded, asked for newest first, which the platform need not heed.
  void forEachEvaluation(const std::function<bool(const SegmentJob&)>& visit, std::stop_token stop);
  /// Create once. Error(internal) if segment or dataset is empty: such a request is never sent.
  ExportJob startExportJob(const NewExportJob& job, std::stop_token stop);
  std::optional<ExportJob> findExportJob(const model::ExportJobId& job, std::stop_token stop);
  /// In whatever order the platform has; `visit` returns false to stop.
  void forEachExportJob(const std::function<bool(const ExportJob&)>& visit, std::stop_token stop);
  /// Asks to cancel; false if there is no such job.
  bool cancelExportJob(const model::ExportJobId& job, std::stop_token stop);

  // --- surroundings
  std::vector<std::string> unionSchemaIds(std::stop_token stop);
  std::vector<Sandbox> sandboxes(std::stop_token stop);

  /// The server's time by the newest `Date` header seen (never ahead of it, behind by the second that the header cuts
  /// off and by the answer's way), else this machine's.
  core::TimePoint serverNow() const;
  /// This machine's clock less the server's, once an answer had a `Date`.
  std::optional<core::Duration> clockSkew() const;
  /// The shortest time from a request to the end of its answer so far, files aside: mostly the way there and back.
  std::optional<std::chrono::nanoseconds> shortestAnswer() const;
  /// What the newest answer to findSegmentJob or findExportJob, of any thread, asked for in `Retry-After`; nothing if
  /// it did not.
  std::optional<core::Duration> lastRetryAfter() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace caiexport::platform
