/// `datasets` and `segments`: ids by name.

#include <array>
#include <limits>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "caiexport/platform/client.h"
#include "cli/output/job_output.h"
#include "cli/session.h"
#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 3> kDatasets{{
    {"search", "TEXT", "only those whose name or id contains TEXT; upper and lower case count as the same"},
    {"limit", "N", "only the newest N; 0 for all [20]"},
    {"format", "table|json|csv", "how the result is printed on standard output [table]"},
}};

/// What tells the two commands apart.
struct Kind {
  std::string_view one;
  std::string_view many;
  ListingColumns columns;  ///< Of the table.
  std::string_view markKey;
  std::string_view timeKey;
  bool isOfSegments = false;  ///< The mark is the namespace.
};

constexpr Kind kDatasetKind{"dataset", "datasets", {.mark = "kind", .at = "created"}, "kind", "created_at"};
constexpr Kind kSegmentKind{"segment",         "segments",   {.mark = "namespace", .at = "updated"},
                            "merge_policy_id", "updated_at", true};

struct ListOptions {
  std::string search;
  std::size_t limit = 20;
  ListFormat format = ListFormat::table;
};

ListOptions parse(const ParsedOptions& options) {
  refuseArguments(options);
  ListOptions parsed;
  parsed.search = textOption(options, "search").value_or("");
  if (const auto limit = numberOption(options, "limit", 0, std::numeric_limits<std::int32_t>::max())) {
    parsed.limit = static_cast<std::size_t>(*limit);
  }
  parsed.format = listFormat(options);
  return parsed;
}

std::string_view wordFor(platform::DatasetUse use) {
  switch (use) {
    case platform::DatasetUse::scores:
      return "scores";
    case platform::DatasetUse::scoreEvents:
      return "score_events";
    case platform::DatasetUse::snapshot:
      return "snapshot";
    case platform::DatasetUse::audience:
      return "audience";
    case platform::DatasetUse::other:
      return "";
  }
  return "";
}

void printJson(const std::vector<Listed>& entries, const Kind& kind, StandardOutput& out) {
  LineArray array(out);
  for (const Listed& entry : entries) {
    if (!array.next()) return;
    json::Writer json([&out](std::string_view text) { out.write(text); });
    json.beginObject();
    json.key("id").value(entry.id);
    json.key("name").value(entry.name);
    json.key(kind.markKey).textOrNull(kind.isOfSegments ? entry.mergePolicy : entry.mark);
    json.key(kind.timeKey).textOrNull(entry.at ? core::formatTime(*entry.at) : "");
    if (kind.isOfSegments) {
      json.key("namespace").textOrNull(entry.mark);
      json.key("origin").textOrNull(entry.origin);
      json.key("state").textOrNull(entry.state);
      json.key("members").value(entry.members);
    }
    json.endObject();
  }
  array.end();
}

void printCsv(const std::vector<Listed>& entries, const Kind& kind, StandardOutput& out) {
  out.write("id,name," + std::string(kind.markKey) + "," + std::string(kind.timeKey) +
            (kind.isOfSegments ? ",namespace,origin,state,members" : "") + "\r\n");
  for (const Listed& entry : entries) {
    std::string line = csvField(entry.id) + "," + csvField(entry.name) + "," +
                       csvField(kind.isOfSegments ? entry.mergePolicy : entry.mark) + "," +
                       (entry.at ? core::formatTime(*entry.at) : "");
    if (kind.isOfSegments) {
      line += "," + csvField(entry.mark) + "," + csvField(entry.origin) + "," + csvField(entry.state) + "," +
              (entry.members ? std::to_string(*entry.members) : "");
    }
    const bool open = out.write(line + "\r\n");
    if (!open) return;
  }
}

void printTable(const std::vector<Listed>& entries, const Kind& kind, StandardOutput& out) {
  // A pipe has no width: programs behind it want whole names.
  if (!entries.empty()) out.write(listingText(entries, kind.columns, out.terminal() ? out.width() : 0));
}

std::string quoted(const std::string& text) {
  return "'" + core::printable(text, 80) + "'";
}

void tellHowMany(const Newest& newest, std::size_t shown, const ListOptions& parsed, const Kind& kind,
                 const std::string& sandbox, Console& console) {
  const std::string place = " in sandbox " + core::printable(sandbox, 40);
  if (newest.found() == 0) {
    const std::string what = "caiexport: no " + std::string(kind.one) + place;
    console.notice(parsed.search.empty() ? what : what + " has " + quoted(parsed.search) + " in its name");
  } else if (newest.found() > shown) {
    console.notice("caiexport: the newest " + grouped(shown) + " of " + grouped(newest.found()) +
                   "; --limit 0 lists all, --search TEXT finds by name");
  }
}

/// The live line that says how far the paging has come.
class Counter {
 public:
  Counter(Console& console, const Kind& kind) : console_(console), kind_(kind) {}
  ~Counter() { console_.live({}); }
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;
  void add() {
    constexpr std::uint64_t kEvery = 100;
    if (++count_ % kEvery == 0) {
      console_.live("looking through the " + std::string(kind_.many) + ": " + grouped(count_) + " so far");
    }
  }

 private:
  Console& console_;
  const Kind& kind_;
  std::uint64_t count_ = 0;
};

template <class Gather>
CommandEnd run(const ParsedOptions& options, Context& context, const Kind& kind, const Gather& gather) {
  const ListOptions parsed = parse(options);
  Configuration configuration(options, context.environment);
  const PlatformSettings settings = configuration.platform();
  PlatformAccess access(settings, configuration.tokenCache(), context.log);
  Newest newest(parsed.search, parsed.limit);
  {
    Counter counter(context.console, kind);
    gather(access.client(), [&](Listed listed) {
      counter.add();
      newest.take(std::move(listed));
      return true;
    });
  }
  const std::vector<Listed> entries = newest.sorted();
  const auto print = parsed.format == ListFormat::json  ? printJson
                     : parsed.format == ListFormat::csv ? printCsv
                                                        : printTable;
  print(entries, kind, context.out);
  context.out.flush();
  tellHowMany(newest, entries.size(), parsed, kind, settings.sandbox, context.console);
  return {};
}

/// `ups` is what exports call the platform's own segments.
Listed listedSegment(const platform::SegmentDefinition& segment) {
  Listed listed;
  listed.id = segment.id.value();
  listed.name = segment.name;
  const bool own = segment.segmentNamespace.empty() || core::toLower(segment.segmentNamespace) == "aepsegments";
  listed.mark = own ? "ups" : segment.segmentNamespace;
  listed.at = segment.updated;
  listed.mergePolicy = segment.mergePolicyId;
  listed.origin = segment.origin;
  listed.state = segment.state;
  listed.members = segment.members;
  return listed;
}

/// Whether the platform refuses the list as such: 403, 404, another 4xx, or a 5xx that no repetition mends (501).
bool isNotOffered(const core::Error& error) {
  const core::Category category = error.category();
  if (category == core::Category::unavailable) return dynamic_cast<const core::TransientError*>(&error) == nullptr;
  return category == core::Category::permission || category == core::Category::notFound ||
         category == core::Category::remoteFailed;
}

}  // namespace

const CommandPage& datasetsPage() {
  static const CommandPage page{
      .name = "datasets",
      .summary = "find dataset ids by name",
      .arguments = "",
      .description =
          R"(Lists the datasets of the sandbox, newest first. The last column says what a dataset holds, where
that is known: scores of Customer AI (scores), the same as events for Customer Journey Analytics
(score_events), exported audiences (audience), or the platform's daily snapshot of all profiles
(snapshot).)",
      .groups = {{"Which", kDatasets}, platformGroup(), globalGroup()},
      .examples = {{"caiexport datasets --search \"customer ai\"", "the score datasets"},
                   {"caiexport datasets --limit 0 --format csv", "everything, for a spreadsheet"}},
      .exitCodes = {0, 1, 2, 3, 5, 7, 8, 130}};
  return page;
}

const CommandPage& segmentsPage() {
  static const CommandPage page{
      .name = "segments",
      .summary = "find segment ids by name",
      .arguments = "",
      .description =
          R"(Lists the audiences of the sandbox, whoever made them; the one that was changed last comes first.
The namespace is what `segment --namespace` takes. JSON and CSV also have origin, state and number
of members.)",
      .groups = {{"Which", kDatasets}, platformGroup(), globalGroup()},
      .examples = {{"caiexport segments --search churn", "segments with churn in their name"},
                   {"caiexport segments --limit 0 --format json", "all of them, for programs"}},
      .exitCodes = {0, 1, 2, 3, 5, 7, 8, 130}};
  return page;
}

CommandEnd runDatasets(const ParsedOptions& options, Context& context) {
  return run(options, context, kDatasetKind, [&](platform::Client& client, const auto& take) {
    client.forEachDataset(
        [&](const platform::Dataset& dataset) {
          Listed listed;
          listed.id = dataset.id.value();
          listed.name = dataset.name;
          listed.mark = wordFor(useOf(dataset));
          if (dataset.created != core::TimePoint()) listed.at = dataset.created;
          return take(std::move(listed));
        },
        context.stop);
  });
}

CommandEnd runSegments(const ParsedOptions& options, Context& context) {
  return run(options, context, kSegmentKind, [&](platform::Client& client, const auto& take) {
    bool anyTaken = false;
    const auto visit = [&](const platform::SegmentDefinition& segment) {
      anyTaken = true;
      return take(listedSegment(segment));
    };
    try {
      client.forEachAudience(visit, context.stop);
    } catch (const core::Error& error) {
      // A list that broke off is there: what was taken of it would be taken twice.
      if (anyTaken || !isNotOffered(error)) throw;
      context.console.notice(
          "caiexport: audiences of other origins can't be listed here: these are the platform's own");
      client.forEachSegment(visit, context.stop);
    }
  });
}

}  // namespace caiexport::cli
