#include <array>

#include "caiexport/model/job.h"

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

constexpr std::array<Named<StepName>, 9> kStepNames{{
    {StepName::evaluateSegment, "evaluate_segment"},
    {StepName::createDataset, "create_dataset"},
    {StepName::startExport, "start_export"},
    {StepName::awaitExport, "await_export"},
    {StepName::selectBatches, "select_batches"},
    {StepName::listFiles, "list_files"},
    {StepName::downloadFiles, "download_files"},
    {StepName::verifyFiles, "verify_files"},
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

}  // namespace caiexport::model
