#include "simulator/state.h"

#include <algorithm>
#include <charconv>
#include <iterator>

namespace caiexport::simulator {
namespace {

constexpr std::chrono::hours kBatchAge{1};

template <typename Items>
auto* findIn(Items& items, const std::string& id, const std::string& sandbox) {
  const auto found = std::find_if(items.begin(), items.end(),
                                  [&](const auto& item) { return item.id == id && item.sandbox == sandbox; });
  return found == items.end() ? nullptr : &*found;
}

/// Spark's pattern for part files, with ids that stay the same from run to run.
std::string partName(std::uint64_t seed, std::uint64_t index) {
  return "part-" + padded(index, 5) + "-tid-" + padded(5614298703411200000U + seed, 19) + "-d0c6a1f4-8a7e-4b52-9d3b-" +
         paddedHex(seed, 12) + "-" + std::to_string(index) + "-c000.snappy.parquet";
}

void addDatasets(State& state) {
  const core::TimePoint created = state.now() - std::chrono::hours(24 * 90);
  state.datasets.push_back({.id = kScoreDatasetId,
                            .sandbox = "prod",
                            .name = "Customer AI Scores - churn_q3",
                            .description = "Scores of the Customer AI instance churn_q3",
                            .schemaId = "https://ns.adobe.com/simulator/schemas/customer-ai-churn-q3",
                            .created = created,
                            .createdClient = "acp_foundation_push"});
  for (std::uint64_t number = 1; number <= state.scenario.otherDatasets; ++number) {
    state.datasets.push_back({.id = "5f00000000000000000" + paddedHex(0x10000 + number, 5),
                              .sandbox = "prod",
                              .name = "Web events " + std::to_string(number),
                              .description = "",
                              .schemaId = "https://ns.adobe.com/simulator/schemas/web-events",
                              .created = created + std::chrono::hours(number),
                              .createdClient = "acp_ui_platform"});
  }
}

void addSegments(State& state) {
  state.segments.push_back(
      {.id = kHighRiskSegmentId, .sandbox = "prod", .name = "High churn risk", .description = "score >= 75"});
  for (std::uint64_t number = 1; number <= state.scenario.otherSegments; ++number) {
    // A name with what Catalog's filters take as syntax.
    const std::string name = number == 1 ? "Churn, \"high\" & rising* !" : "Audience " + std::to_string(number);
    state.segments.push_back(
        {.id = "0b7c1b0a-2f0e-4f57-8a1b-" + paddedHex(number, 12), .sandbox = "prod", .name = name});
  }
  state.segments.push_back({.id = kForeignAudienceId,
                            .sandbox = "prod",
                            .name = "Loyal visitors",
                            .description = "made in Audience Manager",
                            .space = "AAM",
                            .origin = "AUDIENCE_MANAGER"});
}

/// Splits the files over a tree of directories, two branches a level, and returns the id of its root.
std::string addDirectory(State& state, const std::string& id, std::vector<ListedFile> files, std::uint64_t levels) {
  Directory directory;
  if (state.scenario.partitionFolders) {
    // One folder for each file; equal names in two of them are two files.
    for (std::size_t at = 0; at < files.size(); ++at) {
      const std::string folder = "_ACP_DATE=2026-04-" + padded(at + 1, 2);
      directory.folders.push_back(folder);
      directory.byName.emplace(folder + "/" + files[at].name, at);
    }
    directory.files = std::move(files);
  } else if (levels == 0 || files.size() < 2) {
    directory.files = std::move(files);
    for (std::size_t at = 0; at < directory.files.size(); ++at) directory.byName.emplace(directory.files[at].name, at);
  } else {
    const auto middle = files.begin() + static_cast<std::ptrdiff_t>(files.size() / 2);
    std::vector<ListedFile> second(std::make_move_iterator(middle), std::make_move_iterator(files.end()));
    files.erase(middle, files.end());
    directory.childIds = {addDirectory(state, id + "-a", std::move(files), levels - 1),
                          addDirectory(state, id + "-b", std::move(second), levels - 1)};
  }
  state.directories[id] = std::move(directory);
  return id;
}

void linkBack(State& state, const std::string& id, const std::string& root) {
  Directory& directory = state.directories.at(id);
  for (const std::string& child : directory.childIds) linkBack(state, child, root);
  if (directory.childIds.empty()) directory.childIds.push_back(root);
}

std::vector<ListedFile> namedFiles(const State& state, const Batch& batch, std::vector<DataFile> made,
                                   std::uint64_t firstIndex) {
  std::vector<ListedFile> files;
  for (std::uint64_t offset = 0; offset < made.size(); ++offset) {
    const std::uint64_t index = firstIndex + offset;
    const std::uint64_t shownIndex = state.scenario.duplicateNames ? offset : index;
    std::string name = index < state.scenario.fileNames.size() ? state.scenario.fileNames[index]
                                                               : partName(batch.data.seed, shownIndex);
    files.push_back({.name = std::move(name), .content = made[offset].content, .records = made[offset].records});
  }
  for (const auto& [name, text] : state.scenario.filesBeside) {
    files.push_back({.name = name, .content = memoryContent(text)});
  }
  if (state.scenario.successMarker) files.push_back({.name = "_SUCCESS", .content = memoryContent("")});
  return files;
}

/// What Catalog lists of a profile-enabled dataset besides: Profile's notes of each ingestion, and consolidations.
void addWhatCannotBeRead(State& state, core::TimePoint newest) {
  std::vector<std::string> readable;
  std::uint64_t records = 0;
  for (const Batch& batch : state.batches) {
    if (batch.datasetId == kScoreDatasetId && batch.status != "failed") {
      readable.push_back(batch.id);
      records += batch.data.records;
    }
  }
  for (std::uint64_t number = 0; number < state.scenario.consolidations; ++number) {
    Batch& batch = addBatch(state, {.datasetId = kScoreDatasetId,
                                    .idPrefix = "01JXCO",
                                    .createdClient = state.scenario.createdClient,
                                    .created = newest + std::chrono::minutes(10 + number),
                                    .data = {.seed = 0, .records = records, .files = 1},
                                    .isOther = true});
    batch.consolidation = true;
    batch.predecessors = readable;
    batch.replayReason = "";
  }
  if (!state.scenario.trackingBatches || readable.empty()) return;
  for (const char* client : {"acp_core_identity_data", "acp_core_ups_ingest_controller"}) {
    Batch& batch = addBatch(state, {.datasetId = kScoreDatasetId,
                                    .idPrefix = "01JXTR",
                                    .createdClient = client,
                                    .created = newest + std::chrono::minutes(20),
                                    .data = {.seed = 0, .records = 1, .files = 0},
                                    .isOther = true});
    batch.relatedBatch = readable.back();
  }
}

/// What the oldest score batch replaced.
void addSuperseded(State& state) {
  const auto isScores = [](const Batch& batch) { return batch.datasetId == kScoreDatasetId; };
  const auto oldest = std::ranges::find_if(state.batches, isScores);
  if (oldest == state.batches.end()) return;
  for (std::uint64_t number = 0; number < state.scenario.supersededBatches; ++number) {
    const Batch& batch = addBatch(
        state, {.datasetId = kScoreDatasetId,
                .idPrefix = "01JXOL",
                .createdClient = state.scenario.createdClient,
                .created = oldest->created - std::chrono::seconds(state.scenario.batchSpacingSeconds) * (number + 1),
                .data = {.seed = ++state.lastScoreSeed, .records = oldest->data.records, .files = 1},
                .isOther = true});
    oldest->predecessors.push_back(batch.id);
  }
}

}  // namespace

std::string padded(std::uint64_t number, std::size_t width, int base) {
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, number, base).ptr;
  const std::string text(digits, end);
  return std::string(width > text.size() ? width - text.size() : 0, '0') + text;
}

std::string paddedHex(std::uint64_t number, std::size_t width) {
  return padded(number, width, 16);
}

Dataset* State::findDataset(const std::string& id, const std::string& sandbox) {
  return findIn(datasets, id, sandbox);
}

Batch* State::findBatch(const std::string& id, const std::string& sandbox) {
  return findIn(batches, id, sandbox);
}

Segment* State::findSegment(const std::string& id, const std::string& sandbox) {
  return findIn(segments, id, sandbox);
}

std::int64_t toMilliseconds(core::TimePoint time) {
  return time.time_since_epoch().count();
}

std::unordered_set<std::string> supersededIn(const State& state) {
  std::unordered_set<std::string> ids;
  for (const Batch& batch : state.batches) {
    if (!state.scenario.supersededStatus.empty() && !batch.consolidation && batch.status == "success") {
      ids.insert(batch.predecessors.begin(), batch.predecessors.end());
    }
  }
  return ids;
}

Batch& addBatch(State& state, const NewBatch& wanted) {
  Batch batch{.datasetId = wanted.datasetId,
              .sandbox = wanted.sandbox,
              .status = wanted.status,
              .createdClient = wanted.createdClient,
              .created = wanted.created,
              .data = wanted.data};
  batch.id = wanted.idPrefix + padded(wanted.isOther ? ++state.lastOther : ++state.lastNumber, 20);
  return state.batches.emplace_back(std::move(batch));
}

void makeFiles(State& state, Batch& batch) {
  if (batch.made) return;
  PatternSource pattern(state.scenario.fileBytes);
  DataSource& source = state.scenario.fileBytes > 0 ? pattern : state.data;
  std::vector<DataFile> made = source.make(batch.data);
  const std::uint64_t parts =
      std::max<std::uint64_t>(1, std::min<std::uint64_t>(state.scenario.datasetFiles, made.size()));
  std::uint64_t first = 0;
  for (std::uint64_t part = 0; part < parts; ++part) {
    const std::uint64_t count = recordsInFile(made.size(), parts, part);
    const auto begin = made.begin() + static_cast<std::ptrdiff_t>(first);
    std::vector<DataFile> share(begin, begin + static_cast<std::ptrdiff_t>(count));
    const std::string id = batch.id + "-" + std::to_string(part + 1);
    batch.datasetFileIds.push_back(
        addDirectory(state, id, namedFiles(state, batch, std::move(share), first), state.scenario.nestedDirectories));
    if (state.scenario.directoryCycle) linkBack(state, id, id);
    first += count;
  }
  batch.made = true;
}

void populate(State& state) {
  addDatasets(state);
  addSegments(state);
  rebuildScoreBatches(state);
}

void rebuildScoreBatches(State& state) {
  state.batches.remove_if([](const Batch& batch) { return batch.datasetId == kScoreDatasetId; });
  const Scenario& scenario = state.scenario;
  const core::TimePoint newest = state.now() - kBatchAge;
  std::string predecessor;
  for (std::uint64_t age = scenario.batches; age-- > 0;) {
    const std::uint64_t files = age > 0 && scenario.olderBatchFiles > 0 ? scenario.olderBatchFiles : scenario.files;
    Batch& batch =
        addBatch(state, {.datasetId = kScoreDatasetId,
                         .idPrefix = "01JXSC",
                         .createdClient = scenario.createdClient,
                         .status = scenario.batchStatus,
                         .created = newest - std::chrono::seconds(scenario.batchSpacingSeconds) * age,
                         .data = {.seed = ++state.lastScoreSeed, .records = scenario.records, .files = files}});
    if (scenario.replay && age == 0 && !predecessor.empty()) batch.predecessors = {predecessor};
    predecessor = batch.id;
    if (scenario.snapshot) batch.createdUser = "acp_core_unifiedProfile_export@AdobeID";
  }
  for (std::uint64_t number = 0; number < scenario.failedBatches; ++number) {
    addBatch(state, {.datasetId = kScoreDatasetId,
                     .idPrefix = "01JXSC",
                     .createdClient = scenario.createdClient,
                     .status = "failed",
                     .created = newest + std::chrono::minutes(1 + number)});
  }
  addWhatCannotBeRead(state, newest);
  addSuperseded(state);
}

}  // namespace caiexport::simulator
