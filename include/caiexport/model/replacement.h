#pragma once
/// What becomes of a batch that a newer one supersedes.

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/model/job.h"

namespace caiexport::model {

/// `keep`: it stays where it is. `aside`: it is moved to OUTPUT/<dataset id>/.replaced. `remove`: its files are
/// deleted. `skip`: it was never here, and is not fetched.
enum class ReplaceAction { keep, aside, remove, skip };

struct Replacement {
  BatchId batch = {};
  BatchId by = {};
  std::string reason = {};  ///< In the platform's words.
  ReplaceAction action = ReplaceAction::keep;
  std::filesystem::path path = {};  ///< Where it lies after `aside`; else empty.
  bool done = false;                ///< False: about to happen, and perhaps done already.
};

std::string_view nameOf(ReplaceAction action);  ///< "keep", "aside", "delete", "skip".
/// Nothing for an unknown name.
std::optional<ReplaceAction> replaceActionFrom(std::string_view name);

/// Whether `replay.reason` tells that people asked for their data to go. No document of Adobe's lists the words, so any
/// that speaks of privacy or of deleting counts.
bool isPrivacyDeletion(std::string_view replayReason);

/// A batch that others of the list supersede, directly or through one another.
struct Superseded {
  BatchId batch = {};
  BatchId by = {};          ///< The newest batch of the chain, which nothing supersedes.
  std::string reason = {};  ///< Of the batch that names it as its predecessor, or of the privacy deletion.
  bool privacy = false;     ///< A step of the chain is a privacy deletion.
};

/// Everything that the batches supersede, whether in the list or only named by it; in no particular order. Of batches
/// that replace one another in a circle the newest stands. Entries of the same id count as one batch.
std::vector<Superseded> supersededBy(std::span<const Batch> batches);

}  // namespace caiexport::model
