#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/engine/runner.h"
#include "cli/session.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 1> kWhat{{
    {"id", "ID[,ID]",
     R"(the segment, also called audience (required); several, separated by commas, go into one export)"},
}};

constexpr std::array<Option, 18> kExport{{
    {"fields", "PATHS",
     R"(only these fields of the profile, separated by commas, e.g. identityMap,_tenant.churn [all])"},
    {"status", "WORDS", R"(members with these states, separated by commas: realized (in the segment), exited (left it)
[realized])"},
    {"merge-policy", "ID[:VERSION]", "merge profiles by this policy instead of the segment's own"},
    {"namespace", "NAME",
     R"(namespace of the audience: ups for the platform's own, AAM for Audience Manager's, ... [ups])"},
    {"qualified-since", "TIME", "only members whose membership began or changed at TIME or later"},
    {"qualified-until", "TIME", "only members whose membership began or changed before TIME"},
    {"ingested-since", "TIME", "only profiles that received data after TIME"},
    {"empty-profiles", "", "also customers of whom the platform knows nothing but an identity"},
    {"events", "FIELDS", "also these fields of the members' events, separated by commas"},
    {"events-since", "TIME", "only events that the platform received after TIME"},
    {"events-until", "TIME", "only events that the platform received before TIME"},
    {"segment-per-batch", "", "write each segment into a batch of its own"},
    {"schema", "NAME", "schema of the profiles [_xdm.context.profile]"},
    {"evaluate", "",
     R"(first ask the platform to evaluate the segment, and wait for it (a production sandbox allows 2 a
day and 50 a year))"},
    {"wait-for-evaluation", "",
     R"(first wait for the platform's next evaluation of its own, which costs nothing and takes place
every night)"},
    {"dataset", "ID", "export into this dataset instead of a new one"},
    {"reuse", "", "export into the dataset that an earlier job made for this segment, if it still exists"},
    {"name", "NAME", "name of the new dataset [caiexport SEGMENT-NAME JOB-UUID]"},
}};

constexpr std::array<Option, 4> kWait{{
    {"poll-interval", "DURATION", "how long to wait before the platform is asked again; waits grow [10s]"},
    {"poll-max", "DURATION", "the longest of these waits [60s]"},
    {"timeout", "DURATION", "stop waiting after this time, with exit code 6; the platform's job goes on"},
    {"no-wait", "", "start the export and end; `resume` continues it later"},
}};

constexpr std::array<Option, 6> kHow{{
    {"no-download", "", "export into the dataset, but download nothing"},
    {"keep-dataset", "", "keep the new dataset on the platform [default]"},
    {"delete-dataset", "", "delete the new dataset from the platform once the files are verified"},
    kVerifyOption,
    kForceOption,
    kFormatOption,
}};

struct SegmentCommand {
  model::ExportRequest request = {};
  TextOrJson format = TextOrJson::text;
};

void refuseContradictions(const ParsedOptions& options) {
  refuseTogether(options, {"dataset", "delete-dataset"});
  refuseTogether(options, {"dataset", "name"});
  refuseTogether(options, {"dataset", "reuse"});
  // Next week there would be nothing to reuse.
  refuseTogether(options, {"reuse", "delete-dataset"});
  refuseTogether(options, {"no-download", "delete-dataset"});
  refuseTogether(options, {"keep-dataset", "delete-dataset"});
  refuseTogether(options, {"no-wait", "timeout"});
  refuseTogether(options, {"evaluate", "wait-for-evaluation"});
  requireWith(options, "events-since", "events");
  requireWith(options, "events-until", "events");
  refuseTogether(options, {"no-download", "verify"});
  refuseTogether(options, {"no-download", "force"});
  refuseTogether(options, {"no-download", "min-records"});
  refuseTogether(options, {"no-download", "max-change"});
}

void parseMergePolicy(const ParsedOptions& options, model::SegmentOptions& segment) {
  const auto text = options.value("merge-policy");
  if (!text) return;
  const std::size_t colon = text->find(':');
  segment.mergePolicyId = model::checkedId("merge policy id", text->substr(0, colon));
  if (colon == text->npos) return;
  const auto version = core::parseUnsigned(text->substr(colon + 1));
  if (!version || *version > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    throwUsage("--merge-policy: the version after the colon is not a number");
  }
  segment.mergePolicyVersion = static_cast<std::int64_t>(*version);
}

void parseWaits(const ParsedOptions& options, model::SegmentOptions& segment) {
  const auto positive = [&](std::string_view name) {
    const auto duration = durationOption(options, name);
    if (duration && *duration <= core::Duration::zero()) {
      throwUsage("--" + std::string(name) + " must be longer than 0");
    }
    return duration;
  };
  const auto first = positive("poll-interval");
  const auto most = positive("poll-max");
  segment.pollInterval = first.value_or(segment.pollInterval);
  // One of them alone bends the other's default.
  segment.pollMax = most.value_or(std::max(segment.pollMax, segment.pollInterval));
  if (!first) segment.pollInterval = std::min(segment.pollInterval, segment.pollMax);
  if (segment.pollMax < segment.pollInterval) {
    throwUsage("--poll-max is shorter than --poll-interval");
  }
  segment.timeout = positive("timeout");
}

/// Refused here, before anything is created: the platform would fail the job, or export nobody.
std::vector<std::string> parseStatuses(const ParsedOptions& options, Console& console) {
  constexpr std::array<std::string_view, 3> kWords{"realized", "exited", "existing"};
  std::vector<std::string> statuses;
  for (const std::string& given : listOption(options, "status")) {
    const std::string word = core::toLower(given);
    if (std::ranges::find(kWords, word) == kWords.end()) {
      throwUsage("--status: '" + core::printable(given, 40) + "' is not one of realized, exited" +
                 didYouMean(word, kWords));
    }
    if (std::ranges::find(statuses, word) == statuses.end()) statuses.push_back(word);
  }
  if (std::ranges::find(statuses, "existing") != statuses.end()) {
    console.notice("caiexport: --status existing is retired: the platform counts those members as realized now");
  }
  return statuses;
}

/// The ids, each once.
std::string parseSegmentIds(const ParsedOptions& options) {
  std::string ids;
  std::vector<std::string> seen;
  for (const std::string& id : listOption(options, "id")) {
    if (std::ranges::find(seen, id) != seen.end()) continue;
    seen.push_back(model::checkedId("segment id", id));
    ids += (ids.empty() ? "" : ",") + id;
  }
  return ids.empty() ? requiredId(options, "id", "segment id") : ids;
}

void parseScope(const ParsedOptions& options, core::TimePoint now, model::SegmentOptions& segment) {
  segment.qualifiedSince = timeOption(options, "qualified-since", now);
  segment.qualifiedUntil = timeOption(options, "qualified-until", now);
  segment.ingestedSince = timeOption(options, "ingested-since", now);
  segment.emptyProfiles = options.has("empty-profiles");
  segment.eventFields = listOption(options, "events");
  segment.eventsSince = timeOption(options, "events-since", now);
  segment.eventsUntil = timeOption(options, "events-until", now);
  segment.segmentPerBatch = options.has("segment-per-batch");
  if (const auto name = textOption(options, "schema")) segment.schemaName = *name;
  const auto requireOrder = [](const auto& since, const auto& until, std::string_view what) {
    if (!since || !until || *since < *until) return;
    throwUsage("--" + std::string(what) + "-since is not before --" + std::string(what) + "-until");
  };
  requireOrder(segment.qualifiedSince, segment.qualifiedUntil, "qualified");
  requireOrder(segment.eventsSince, segment.eventsUntil, "events");
}

model::SegmentOptions parseSegment(const ParsedOptions& options, Console& console) {
  refuseContradictions(options);
  model::SegmentOptions segment;
  segment.targetDataset = model::DatasetId(idOption(options, "dataset", "dataset id").value_or(""));
  segment.datasetName = textOption(options, "name").value_or("");
  segment.fields = listOption(options, "fields");
  segment.reuse = options.has("reuse");
  segment.evaluate = options.has("evaluate");
  segment.wait = !options.has("no-wait");
  segment.deleteDataset = options.has("delete-dataset");
  segment.waitForEvaluation = options.has("wait-for-evaluation");
  if (options.has("status")) segment.statuses = parseStatuses(options, console);
  if (const auto name = textOption(options, "namespace")) {
    // What `/audiences` calls those that exports call ups.
    segment.segmentNamespace = core::toLower(*name) == "aepsegments" ? "ups" : *name;
  }
  if (segment.evaluate && core::toLower(segment.segmentNamespace) != "ups") {
    throwUsage("--evaluate is for the platform's own segments, not for those of namespace " +
               core::printable(segment.segmentNamespace, 60));
  }
  parseMergePolicy(options, segment);
  parseScope(options, core::systemClock().now(), segment);
  parseWaits(options, segment);
  return segment;
}

SegmentCommand parse(const ParsedOptions& options, Console& console) {
  refuseArguments(options);
  SegmentCommand parsed;
  parsed.format = formatOption(options);
  // One by one: where an initialiser in a braced list throws, g++ 12 destroys earlier members' defaults twice.
  parsed.request.kind = model::Kind::segment;
  parsed.request.sourceId = parseSegmentIds(options);
  parsed.request.segment = parseSegment(options, console);
  parsed.request.guards = guardOptions(options);
  parsed.request.verify = verifyOption(options);
  parsed.request.download = !options.has("no-download");
  parsed.request.force = options.has("force");
  return parsed;
}

}  // namespace

const CommandPage& segmentPage() {
  static const CommandPage page{
      .name = "segment",
      .summary = "export an audience and download it",
      .arguments = "--id ID",
      .description =
          R"(Creates a dataset for the audience (or uses the one that --dataset names), starts an export job for
the segment and waits until the platform has finished it. Then downloads the files and checks them.
Every step is recorded, so that `resume` can continue an interrupted run.)",
      .groups = jobGroups({{"What", kWhat}, {"Export", kExport}, {"Waiting", kWait}}, kHow),
      .examples =
          {{"caiexport segment --id 4afe34ae-8c98-4513-8a1d-67ccaa54bc05", "export and download"},
           {"caiexport segment --id 4afe34ae-8c98-4513-8a1d-67ccaa54bc05 --wait-for-evaluation --delete-dataset",
            "wait for tonight's evaluation, export its members, leave nothing on the platform"},
           {"caiexport segment --id 4afe34ae-8c98-4513-8a1d-67ccaa54bc05 --no-wait",
            "start the export now; `caiexport resume --last` downloads it later"}},
      .exitCodes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130}};
  return page;
}

CommandEnd runSegment(const ParsedOptions& options, Context& context) {
  SegmentCommand parsed = parse(options, context.console);
  Configuration configuration(options, context.environment);
  configuration.place(parsed.request);
  if (!parsed.request.download && !parsed.request.deliver.empty()) {
    if (options.has("deliver")) refuseTogether(options, {"no-download", "deliver"});
    // By the profile, for whatever is downloaded.
    parsed.request.deliver.clear();
    parsed.request.deleteAfterDelivery = false;
  }
  const std::optional<std::string> share = configuration.share();
  Session session(configuration, context);
  session.settings().stamp(parsed.request);
  session.requireTarget(parsed.request);
  const engine::Tools tools = session.tools();
  // The workers of one key are one: their head takes it.
  std::optional<engine::ReuseLock> reuse;
  if (!share) reuse.emplace(tools.jobLocks, parsed.request);
  return makeAndRun(session, parsed.request, {.leaveAtWait = !parsed.request.segment.wait}, parsed.format, context,
                    share);
}

}  // namespace caiexport::cli
