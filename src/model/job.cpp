#include "caiexport/model/job.h"

#include <algorithm>
#include <array>
#include <set>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/model/replacement.h"

namespace caiexport::model {
namespace {

template <class Enum>
struct Named {
  Enum value;
  std::string_view name;
};

template <class Enum, std::size_t N>
std::string_view nameIn(const std::array<Named<Enum>, N>& table, Enum value) {
  for (const auto& row : table) {
    if (row.value == value) return row.name;
  }
  return "?";
}

template <class Enum, std::size_t N>
std::optional<Enum> valueIn(const std::array<Named<Enum>, N>& table, std::string_view name) {
  for (const auto& row : table) {
    if (row.name == name) return row.value;
  }
  return std::nullopt;
}

constexpr std::array<Named<Kind>, 2> kKinds{{{Kind::dataset, "dataset"}, {Kind::segment, "segment"}}};

constexpr std::array<Named<VerifyLevel>, 3> kVerifyLevels{
    {{VerifyLevel::size, "size"}, {VerifyLevel::footer, "footer"}, {VerifyLevel::full, "full"}}};

constexpr std::array<Named<Layout>, 2> kLayouts{{{Layout::plain, "plain"}, {Layout::hive, "hive"}}};

constexpr std::array<Named<StepName>, 10> kStepNames{{
    {StepName::evaluateSegment, "evaluate_segment"},
    {StepName::createDataset, "create_dataset"},
    {StepName::startExport, "start_export"},
    {StepName::awaitExport, "await_export"},
    {StepName::selectBatches, "select_batches"},
    {StepName::listFiles, "list_files"},
    {StepName::downloadFiles, "download_files"},
    {StepName::verifyFiles, "verify_files"},
    {StepName::deliverFiles, "deliver_files"},
    {StepName::deleteDataset, "delete_dataset"},
}};

constexpr std::array<Named<StepState>, 6> kStepStates{{
    {StepState::pending, "pending"},
    {StepState::intended, "intended"},
    {StepState::waiting, "waiting"},
    {StepState::done, "done"},
    {StepState::failed, "failed"},
    {StepState::blocked, "blocked"},
}};

constexpr std::array<Named<JobStatus>, 8> kJobStatuses{{
    {JobStatus::pending, "pending"},
    {JobStatus::running, "running"},
    {JobStatus::waiting, "waiting"},
    {JobStatus::interrupted, "interrupted"},
    {JobStatus::blocked, "blocked"},
    {JobStatus::failed, "failed"},
    {JobStatus::cancelled, "cancelled"},
    {JobStatus::succeeded, "succeeded"},
}};

constexpr std::array<Named<FileState>, 5> kFileStates{{
    {FileState::pending, "pending"},
    {FileState::partial, "partial"},
    {FileState::downloaded, "downloaded"},
    {FileState::verified, "verified"},
    {FileState::failed, "failed"},
}};

}  // namespace

std::string_view nameOf(Kind kind) {
  return nameIn(kKinds, kind);
}
std::string_view nameOf(VerifyLevel level) {
  return nameIn(kVerifyLevels, level);
}
std::string_view nameOf(Layout layout) {
  return nameIn(kLayouts, layout);
}
std::string_view nameOf(StepName name) {
  return nameIn(kStepNames, name);
}
std::string_view nameOf(StepState state) {
  return nameIn(kStepStates, state);
}
std::string_view nameOf(JobStatus status) {
  return nameIn(kJobStatuses, status);
}
std::string_view nameOf(FileState state) {
  return nameIn(kFileStates, state);
}

std::optional<Kind> kindFrom(std::string_view name) {
  return valueIn(kKinds, name);
}
std::optional<VerifyLevel> verifyLevelFrom(std::string_view name) {
  return valueIn(kVerifyLevels, name);
}
std::optional<Layout> layoutFrom(std::string_view name) {
  return valueIn(kLayouts, name);
}
std::optional<StepName> stepNameFrom(std::string_view name) {
  return valueIn(kStepNames, name);
}
std::optional<StepState> stepStateFrom(std::string_view name) {
  return valueIn(kStepStates, name);
}
std::optional<JobStatus> jobStatusFrom(std::string_view name) {
  return valueIn(kJobStatuses, name);
}
std::optional<FileState> fileStateFrom(std::string_view name) {
  return valueIn(kFileStates, name);
}

std::vector<SegmentId> segmentsOf(const ExportRequest& request) {
  std::vector<SegmentId> segments;
  for (std::string& id : core::splitList(request.sourceId)) segments.emplace_back(std::move(id));
  return segments;
}

std::vector<StepName> makePlan(const ExportRequest& request) {
  std::vector<StepName> steps;
  const SegmentOptions& segment = request.segment;
  if (request.kind == Kind::segment) {
    if (segment.evaluate || segment.waitForEvaluation) steps.push_back(StepName::evaluateSegment);
    if (segment.targetDataset.empty()) steps.push_back(StepName::createDataset);
    steps.push_back(StepName::startExport);
    steps.push_back(StepName::awaitExport);
  }
  steps.push_back(StepName::selectBatches);
  steps.push_back(StepName::listFiles);
  if (request.download) {
    steps.push_back(StepName::downloadFiles);
    steps.push_back(StepName::verifyFiles);
    if (!request.deliver.empty()) steps.push_back(StepName::deliverFiles);
  }
  if (request.kind == Kind::segment && segment.deleteDataset) steps.push_back(StepName::deleteDataset);
  return steps;
}

bool isLegalTransition(StepState from, StepState to) {
  switch (from) {
    case StepState::pending:
      return to != StepState::blocked;
    case StepState::intended:
      return true;
    case StepState::waiting:
      return to != StepState::pending && to != StepState::intended;
    case StepState::done:
      return to == StepState::done;
    case StepState::failed:
    case StepState::blocked:
      return true;  // `resume` may try again; a blocked step is decided by the user
  }
  return false;
}

std::optional<StepName> currentStep(std::span<const Step> steps) {
  for (const Step& step : steps) {
    if (step.state != StepState::done) return step.name;
  }
  return std::nullopt;
}

JobStatus statusOf(const Job& job, bool held) {
  if (job.cancelled) return JobStatus::cancelled;
  const auto unfinished =
      std::ranges::find_if(job.steps, [](const Step& step) { return step.state != StepState::done; });
  if (unfinished == job.steps.end()) return JobStatus::succeeded;
  if (unfinished->state == StepState::waiting) return JobStatus::waiting;
  if (held) return JobStatus::running;
  if (unfinished->state == StepState::blocked) return JobStatus::blocked;
  if (unfinished->state == StepState::failed) return JobStatus::failed;
  const bool untouched = std::ranges::all_of(job.steps, [](const Step& step) { return step.attempts == 0; });
  return untouched ? JobStatus::pending : JobStatus::interrupted;
}

std::vector<BatchId> replacedAmong(std::span<const Batch> batches) {
  std::set<BatchId> superseded;
  for (Superseded& one : supersededBy(batches)) superseded.insert(std::move(one.batch));
  std::vector<BatchId> replaced;
  for (const Batch& batch : batches) {
    if (superseded.contains(batch.id)) replaced.push_back(batch.id);
  }
  return replaced;
}

std::vector<ByteRange> normalized(std::vector<ByteRange> ranges, std::uint64_t lengthBytes) {
  std::ranges::sort(ranges, {}, &ByteRange::first);
  std::vector<ByteRange> merged;
  for (ByteRange range : ranges) {
    range.end = std::min(range.end, lengthBytes);
    if (range.first >= range.end) continue;
    if (!merged.empty() && range.first <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, range.end);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

std::vector<ByteRange> missing(std::span<const ByteRange> done, std::uint64_t lengthBytes) {
  std::vector<ByteRange> gaps;
  std::uint64_t reached = 0;
  for (const ByteRange& range : done) {
    if (range.first > reached) gaps.push_back({reached, range.first});
    reached = std::max(reached, range.end);
  }
  if (reached < lengthBytes) gaps.push_back({reached, lengthBytes});
  return gaps;
}

bool isOwnName(std::string_view name) {
  return name == kManifestName || name == kOldManifestName || name == kSuccessName;
}

// --- ids

bool isWellFormedId(std::string_view text) {
  constexpr std::string_view kRefused = "/\\?#%\"'`<>|*:";
  constexpr std::size_t kLongest = 200;
  if (text.empty() || text.size() > kLongest || text == "." || text == "..") return false;
  return std::ranges::all_of(text, [&](char c) { return c > ' ' && c < 0x7f && kRefused.find(c) == kRefused.npos; });
}

std::string checkedId(std::string_view what, std::string_view text) {
  if (text.empty()) throw core::Error(core::Category::usage, "the " + std::string(what) + " is empty");
  if (!isWellFormedId(text)) {
    throw core::Error(core::Category::usage,
                      "the " + std::string(what) + " '" + core::printable(text, 80) + "' is not an id of the platform",
                      {.hint = "an id has visible characters only, no blanks, slashes or quotes; copy it from the user "
                               "interface or from the API"});
  }
  return std::string(text);
}

}  // namespace caiexport::model
