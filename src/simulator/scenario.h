#pragma once
/// What a simulated platform looks like and how it behaves. scenarios/README.md explains every key.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "simulator/fault.h"
#include "simulator/json.h"

namespace caiexport::simulator {

struct Scenario {
  // Who is let in.
  std::string clientId = "sim-client";
  std::string clientSecret = "sim-secret";
  std::string organization = "SIMULATOR@AdobeOrg";
  std::string accessToken = "sim-access-token";
  std::vector<std::string> sandboxes = {"prod", "dev"};
  std::uint64_t tokenLifetimeSeconds = 86399;

  // The shape of the world: a change makes the score batches anew.
  std::uint64_t batches = 3;
  std::uint64_t batchSpacingSeconds = 86400;
  std::uint64_t failedBatches = 1;
  std::uint64_t failedFiles = 1;
  std::uint64_t files = 3;
  std::uint64_t olderBatchFiles = 0;
  std::uint64_t datasetFiles = 1;
  std::uint64_t nestedDirectories = 0;
  std::uint64_t records = 1000;
  std::uint64_t fileBytes = 0;
  bool successMarker = true;
  bool duplicateNames = false;
  std::vector<std::string> fileNames = {};
  std::map<std::string, std::string> filesBeside = {};
  std::string createdClient = "acp_foundation_push";
  bool replay = false;
  bool trackingBatches = false;
  std::uint64_t consolidations = 0;
  std::uint64_t supersededBatches = 0;
  bool consolidationMarked = true;
  bool partitionFolders = false;
  bool snapshot = false;

  // Only the first world has them.
  std::uint64_t otherDatasets = 2;
  std::uint64_t otherSegments = 2;

  // How lists and files are told.
  bool lengthsAsNumbers = false;
  std::string hrefPort = "own";
  std::string hrefOrigin = {};
  std::string countMeaning = "mixed";
  std::uint64_t pageLimit = 100;
  bool bareArrays = false;
  bool rawSingleFile = false;
  std::string fileValidators = "none";
  std::uint64_t fileVersion = 0;
  bool directoryCycle = false;
  std::int64_t listedLengthDelta = 0;
  std::string metricsForm = "output";
  std::int64_t reportedRecordsDelta = 0;

  // Catalog.
  std::string batchStatus = "success";
  std::string supersededStatus = {};
  std::uint64_t slowPages = 0;
  std::uint64_t catalogPage = 100;
  std::vector<std::string> ignoredFilters = {};
  std::string datasetReply = "camel";
  std::string duplicateDatasetName = "refuse";

  // Segmentation.
  std::string datasetIdKey = "datasetId";
  std::string batchesForm = "id";
  std::uint64_t exportPolls = 2;
  std::string exportResult = "SUCCEEDED";
  std::uint64_t exportProfiles = 0;
  std::uint64_t exportFiles = 2;
  std::int64_t reportedProfilesDelta = 0;
  std::uint64_t batchVisibleAfterPolls = 0;
  std::vector<std::string> earlyBatchStatuses = {};
  std::string unknownStatus = {};
  std::uint64_t segmentJobPolls = 2;
  std::string segmentJobResult = "SUCCEEDED";
  std::uint64_t nightlyEvaluations = 3;
  std::uint64_t audiencesEvaluated = 0;
  std::uint64_t evaluationsADay = 2;
  std::uint64_t evaluationsAYear = 50;
  bool b2bSimplification = false;
  bool definitionMetrics = true;
  bool ignoreSort = false;
  std::uint64_t hiddenBatches = 0;
  bool audiences = true;
  std::string segmentLinks = "live";
  std::string deleteReply = "200";

  std::vector<FaultRule> faults = {};
};

/// Changes what the JSON object names and leaves the rest. core::Error(usage) naming the key for an unknown key or a
/// value that does not fit; nothing is changed then. True if a key of the world's shape was among them.
bool applyScenario(Scenario& scenario, const std::string& json);

/// The scenario of a built-in name, or of a file: the live world, changed by what it says. core::Error(usage) if there
/// is neither.
Scenario loadScenario(const std::string& nameOrFile);

struct BuiltinScenario {
  std::string_view name;
  std::string_view json;
};
/// Sorted by name.
const std::vector<BuiltinScenario>& builtinScenarios();
/// What it says of itself.
std::string descriptionOf(const BuiltinScenario& scenario);

}  // namespace caiexport::simulator
