#pragma once
/// The commands: the help page and the work of each.

#include "caiexport/cli/application.h"
#include "caiexport/engine/sync.h"
#include "cli/config/settings.h"

namespace caiexport::cli {

class Configuration;

const CommandPage& datasetPage();
const CommandPage& segmentPage();
const CommandPage& resumePage();
const CommandPage& cancelPage();
const CommandPage& historyPage();
const CommandPage& showPage();
const CommandPage& statusPage();
const CommandPage& readPage();
const CommandPage& scoresPage();
const CommandPage& verifyPage();
const CommandPage& syncPage();
const CommandPage& datasetsPage();
const CommandPage& segmentsPage();
const CommandPage& deliverPage();
const CommandPage& failedPage();
const CommandPage& doctorPage();
const CommandPage& configurePage();

CommandEnd runDataset(const ParsedOptions& options, Context& context);
CommandEnd runSegment(const ParsedOptions& options, Context& context);
CommandEnd runResume(const ParsedOptions& options, Context& context);
CommandEnd runCancel(const ParsedOptions& options, Context& context);
CommandEnd runHistory(const ParsedOptions& options, Context& context);
CommandEnd runStatus(const ParsedOptions& options, Context& context);
CommandEnd runShow(const ParsedOptions& options, Context& context);
CommandEnd runRead(const ParsedOptions& options, Context& context);
CommandEnd runScores(const ParsedOptions& options, Context& context);
CommandEnd runVerify(const ParsedOptions& options, Context& context);
CommandEnd runSync(const ParsedOptions& options, Context& context);
CommandEnd runDatasets(const ParsedOptions& options, Context& context);
CommandEnd runSegments(const ParsedOptions& options, Context& context);
CommandEnd runDeliver(const ParsedOptions& options, Context& context);
CommandEnd runFailed(const ParsedOptions& options, Context& context);
CommandEnd runDoctor(const ParsedOptions& options, Context& context);
CommandEnd runConfigure(const ParsedOptions& options, Context& context);

/// `history diff A B` and `history prune`.
CommandEnd diffJobs(const ParsedOptions& options, TextOrJson format, Context& context);
CommandEnd pruneJobs(const ParsedOptions& options, TextOrJson format, Context& context);

/// What `complete` prints for the shells' completion, see complete.cpp. Never fails.
std::string completions(std::span<const std::string> words, const Environment& environment);

/// `{"batch_id", "created"}` or null.
void writeMark(json::Writer& json, const std::optional<store::SyncMark>& mark);

/// `dataset --dry-run` and `sync --dry-run`: ask the platform what would be fetched, make nothing.
CommandEnd previewDataset(Configuration& configuration, model::ExportRequest request, TextOrJson format,
                          Context& context);
CommandEnd previewSync(Configuration& configuration, engine::SyncRequest request, TextOrJson format, Context& context);

}  // namespace caiexport::cli
