#include <array>
#include <limits>

#include "caiexport/cli/terminal.h"
#include "cli/session.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 1> kWhat{{
    {"id", "ID", "the dataset (required); \"Access scores\" of a Customer AI instance shows its id"},
}};

constexpr std::array<Option, 7> kBatches{{
    {"batch", "ID", "this batch"},
    {"limit", "N", "the newest N batches [1]"},
    {"all", "", "all batches"},
    {"since", "TIME", R"(only batches created at TIME or later: a date (2026-11-24), a time (2026-11-24T10:00:00Z) or an
age (7d for seven days ago))"},
    {"until", "TIME", "only batches created before TIME"},
    kCreatedClientOption,
    {"include-replaced", "",
     R"(also download batches that a newer chosen batch replaces; their customers are then there twice)"},
}};

constexpr std::array<Option, 4> kHow{{
    kVerifyOption,
    kForceOption,
    {"dry-run", "", "only show what would be downloaded; make no job"},
    kFormatOption,
}};

struct DatasetOptions {
  model::ExportRequest request = {};
  bool dryRun = false;
  TextOrJson format = TextOrJson::text;
};

model::BatchSelection parseBatches(const ParsedOptions& options) {
  for (const std::string_view filter : {"limit", "all", "since", "until", "created-client", "include-replaced"}) {
    refuseTogether(options, {"batch", filter});
  }
  refuseTogether(options, {"all", "limit"});
  const core::TimePoint now = core::systemClock().now();
  model::BatchSelection batches;
  batches.batch = model::BatchId(idOption(options, "batch", "batch id").value_or(""));
  batches.since = timeOption(options, "since", now);
  batches.until = timeOption(options, "until", now);
  batches.includeReplaced = options.has("include-replaced");
  if (batches.since && batches.until && *batches.since >= *batches.until) {
    throwUsage("--since is not before --until: no batch can match");
  }
  if (options.has("all")) {
    batches.limit.reset();
  } else if (const auto limit = numberOption(options, "limit", 1, std::numeric_limits<std::uint32_t>::max())) {
    batches.limit = static_cast<std::uint32_t>(*limit);
  }
  if (const auto client = textOption(options, "created-client")) {
    batches.createdClient = *client == "any" ? "" : *client;
  }
  return batches;
}

DatasetOptions parse(const ParsedOptions& options) {
  refuseArguments(options);
  DatasetOptions parsed;
  parsed.dryRun = options.has("dry-run");
  parsed.format = formatOption(options);
  // One by one: where an initialiser in a braced list throws, g++ 12 destroys earlier members' defaults twice.
  parsed.request.kind = model::Kind::dataset;
  parsed.request.sourceId = requiredId(options, "id", "dataset id");
  parsed.request.batches = parseBatches(options);
  parsed.request.guards = guardOptions(options);
  parsed.request.verify = verifyOption(options);
  parsed.request.force = options.has("force");
  return parsed;
}

}  // namespace

const CommandPage& datasetPage() {
  static const CommandPage page{
      .name = "dataset",
      .summary = "download the newest batch of a score dataset",
      .arguments = "--id ID",
      .description =
          R"(Finds the newest successful batch of a Customer AI score dataset, downloads its files and checks
them. Every step is recorded, so that `resume` can continue an interrupted run where it stopped.)",
      .groups = jobGroups({{"What", kWhat}, {"Batches", kBatches}}, kHow),
      .examples = {{"caiexport dataset --id 5dd603781b95cc18a83d42ce", "the newest batch, into the current folder"},
                   {"caiexport dataset --id 5dd603781b95cc18a83d42ce --since 30d --all --output /data/scores",
                    "all batches of the last thirty days"},
                   {"caiexport dataset --id 5dd603781b95cc18a83d42ce --dry-run",
                    "show what would be downloaded, and how large it is"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 130}};
  return page;
}

CommandEnd runDataset(const ParsedOptions& options, Context& context) {
  DatasetOptions parsed = parse(options);
  Configuration configuration(options, context.environment);
  configuration.place(parsed.request);
  const std::optional<std::string> share = configuration.share();
  if (parsed.dryRun) return previewDataset(configuration, parsed.request, parsed.format, context);

  Session session(configuration, context);
  session.settings().stamp(parsed.request);
  session.requireTarget(parsed.request);
  return makeAndRun(session, parsed.request, {}, parsed.format, context, share);
}

}  // namespace caiexport::cli
