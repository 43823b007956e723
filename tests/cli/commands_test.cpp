/// The tables against the contract with users, and what is refused before anything is opened.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "caiexport/cli/application.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/model/job.h"
#include "caiexport/store/database.h"
#include "caiexport/store/job_store.h"
#include "support/fake_clock.h"
#include "support/temp_directory.h"

namespace caiexport::cli {
namespace {

using testing::HasSubstr;

/// Names that README and the contract promise.
const std::map<std::string, std::vector<std::string>, std::less<>> kPromised{
    {"dataset", {"id",       "batch",          "limit",       "all",         "since",
                 "until",    "created-client", "output",      "connections", "connections-max",
                 "max-rate", "verify",         "dry-run",     "format",      "include-replaced",
                 "force",    "max-age",        "min-records", "max-change",  "layout",
                 "deliver",  "after-delivery"}},
    {"sync",
     {"id", "created-client", "since", "replayed", "output", "connections", "connections-max", "max-rate", "verify",
      "dry-run", "format", "force", "max-age", "min-records", "max-change", "layout", "deliver", "after-delivery"}},
    {"segment",
     {"id",
      "dataset",
      "name",
      "fields",
      "status",
      "merge-policy",
      "namespace",
      "evaluate",
      "poll-interval",
      "poll-max",
      "timeout",
      "no-wait",
      "no-download",
      "keep-dataset",
      "delete-dataset",
      "output",
      "connections",
      "max-rate",
      "verify",
      "format",
      "force",
      "reuse",
      "max-age",
      "min-records",
      "max-change",
      "qualified-since",
      "qualified-until",
      "ingested-since",
      "empty-profiles",
      "events",
      "events-since",
      "events-until",
      "segment-per-batch",
      "schema",
      "wait-for-evaluation",
      "layout",
      "deliver",
      "after-delivery"}},
    {"resume", {"last", "all", "resubmit", "adopt", "format"}},
    {"cancel", {"format"}},
    {"history",
     {"status", "kind", "id", "since", "until", "limit", "format", "sql", "before", "files", "dry-run", "field"}},
    {"show", {"last", "format", "follow"}},
    {"status", {"id", "max-age", "format", "output"}},
    {"read", {"last", "columns", "where", "limit", "sql", "format", "output", "identity", "memory"}},
    {"scores", {"last", "field", "format", "output", "memory"}},
    {"verify", {"last", "format"}},
    {"datasets", {"search", "limit", "format"}},
    {"segments", {"search", "limit", "format"}},
    {"failed", {"batch", "since", "output", "connections", "connections-max", "max-rate", "format"}},
    {"deliver", {"format"}},
    {"doctor", {"dataset", "segment", "deliver", "output", "format"}},
    {"configure", {"all", "no-input", "no-check"}},
};

const std::vector<std::string> kPromisedEverywhere{"database", "config",   "profile", "no-color", "quiet",
                                                   "verbose",  "log-file", "help",    "version"};
/// By all that reach the platform; the others would ignore them.
const std::vector<std::string> kPromisedForThePlatform{
    "org", "sandbox", "base-url", "ims-url", "ca-file", "connect-timeout", "read-timeout", "retries", "retry-wait"};
const std::set<std::string_view> kOffline{"history", "show", "read", "scores", "verify", "status", "deliver"};

TEST(Commands, AreThePromisedOnes) {
  std::set<std::string> names;
  for (const Command& command : commands()) names.emplace(command.page().name);
  std::set<std::string> promised;
  for (const auto& [name, options] : kPromised) promised.insert(name);
  EXPECT_EQ(names, promised);
}

TEST(Commands, TakeThePromisedOptions) {
  for (const Command& command : commands()) {
    const CommandPage& page = command.page();
    for (const std::string& name : kPromised.at(std::string(page.name))) {
      EXPECT_TRUE(takes(page, name)) << page.name << " --" << name;
    }
    for (const std::string& name : kPromisedEverywhere) EXPECT_TRUE(takes(page, name)) << page.name << " --" << name;
    for (const std::string& name : kPromisedForThePlatform) {
      const bool filter = page.name == "history" && (name == "org" || name == "sandbox");
      EXPECT_EQ(takes(page, name), filter || !kOffline.contains(page.name)) << page.name << " --" << name;
    }
  }
}

TEST(Help, HoldsEveryOptionExampleAndExitCode) {
  for (const Command& command : commands()) {
    const CommandPage& page = command.page();
    const std::string help = helpText(page);
    for (const OptionGroup& group : page.groups) {
      for (const Option& option : group.options) {
        EXPECT_FALSE(option.help.empty()) << option.name;
        EXPECT_THAT(help, HasSubstr("  --" + std::string(option.name))) << page.name;
      }
    }
    ASSERT_FALSE(page.examples.empty()) << page.name;
    for (const Example& example : page.examples) EXPECT_THAT(help, HasSubstr(std::string(example.command)));
    EXPECT_THAT(page.exitCodes, testing::IsSupersetOf({0, 1, 2}));
    for (const int code : page.exitCodes) EXPECT_FALSE(meaningOfExitCode(code).empty()) << code;
  }
}

TEST(Help, FitsItsTerminalButForExamples) {
  for (const Command& command : commands()) {
    for (const std::size_t width : {0U, 60U, 100U}) {
      const std::string help = helpText(command.page(), width);
      for (std::string_view rest = help; !rest.empty();) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        const bool example = line.starts_with("  caiexport ") || line.starts_with("Usage: ");
        // A name and its placeholder, or an address, may be longer than what is left of a narrow line.
        const bool oneWord = line.find_last_of(' ') <= 34;
        EXPECT_TRUE(example || oneWord || line.size() <= (width == 0 ? 80U : width)) << line;
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      }
    }
  }
}

TEST(Help, NoOptionStandsTwiceInACommand) {
  for (const Command& command : commands()) {
    std::set<std::string_view> seen;
    for (const OptionGroup& group : command.page().groups) {
      for (const Option& option : group.options) EXPECT_TRUE(seen.insert(option.name).second) << option.name;
    }
  }
}

TEST(Help, ExamplesUseRealCommandsAndOptions) {
  for (const Command& command : commands()) {
    for (const Example& example : command.page().examples) {
      EXPECT_TRUE(example.command.starts_with("caiexport " + std::string(command.page().name))) << example.command;
      for (std::size_t at = example.command.find(" --"); at != std::string_view::npos;
           at = example.command.find(" --", at + 1)) {
        std::string_view name = example.command.substr(at + 3);
        name = name.substr(0, name.find(' '));
        EXPECT_TRUE(takes(command.page(), name)) << example.command << " uses --" << name;
      }
    }
  }
}

TEST(Overview, NamesEveryCommandAndFitsAScreen) {
  const std::string text = overviewText();
  for (const Command& command : commands()) EXPECT_THAT(text, HasSubstr("\n  " + std::string(command.page().name)));
  EXPECT_LE(std::ranges::count(text, '\n'), 40);
}

/// Runs words with standard output in a file.
struct Executed {
  explicit Executed(std::vector<std::string> words) {
    std::FILE* file = std::tmpfile();
    std::FILE* errors = std::tmpfile();
    StandardOutput out(::fileno(file));
    Console console(::fileno(errors));
    try {
      error = execute(words, out, console, {});
    } catch (const core::Error& thrown) {
      error = thrown;
    }
    out.flush();
    output = contentOf(file);
    std::fclose(file);
    std::fclose(errors);
  }

  static std::string contentOf(std::FILE* file) {
    std::string text;
    char buffer[4096];
    std::rewind(file);
    for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, got);
    return text;
  }

  std::string message() const { return error ? error->what() : std::string("no failure"); }

  std::optional<core::Error> error;
  std::string output;
};

TEST(Execute, HistoryIsOneTableHoweverManyJobsThereAre) {
  const support::TempDirectory folder;
  const std::string file = (folder / "jobs.db").string();
  {
    store::Database database(folder / "jobs.db", store::Database::Mode::readWrite);
    support::FakeClock clock;
    store::JobStore store(database, clock);
    for (int n = 0; n < 1100; ++n) {
      model::ExportRequest request{.kind = model::Kind::dataset, .sourceId = n == 0 ? "a-much-longer-id" : "id"};
      store.createJob(request, core::newUuid(), model::makePlan(request));
    }
  }
  const Executed done({"--database", file, "history", "--limit", "0"});
  std::istringstream text(done.output);
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 1102U) << "a header, a rule, and a line for each";
  EXPECT_THAT(lines[0], testing::StartsWith(" job  kind"));
  EXPECT_THAT(lines[2], testing::StartsWith("1100  dataset  pending  id"));
  EXPECT_THAT(lines.back(), testing::StartsWith("   1  dataset  pending  a-much-longer-id"));
  EXPECT_EQ(lines[2].size(), lines.back().size()) << "as wide as the widest, which comes last";
}

TEST(Execute, PrintsOverviewHelpAndVersion) {
  EXPECT_EQ(Executed({}).output, overviewText());
  EXPECT_EQ(Executed({"--help"}).output, overviewText());
  EXPECT_THAT(Executed({"--version"}).output, testing::StartsWith("caiexport "));
  for (const Command& command : commands()) {
    const std::string name(command.page().name);
    EXPECT_EQ(Executed({name, "--help"}).output, helpText(command.page()));
    EXPECT_EQ(Executed({"--help", name}).output, helpText(command.page()));
  }
}

TEST(Execute, NamesAMisspeltCommand) {
  const Executed run({"datset", "--id", "x"});
  ASSERT_TRUE(run.error);
  EXPECT_EQ(run.error->category(), core::Category::usage);
  EXPECT_EQ(run.message(), "unknown command 'datset', did you mean 'dataset'?");
}

TEST(Execute, RefusesBadUsageBeforeAnythingIsMade) {
  const support::TempDirectory folder;
  const std::string database = "--database=" + (folder / "state/jobs.db").string();
  const std::vector<std::vector<std::string>> cases{
      {"dataset"},
      {"dataset", "--id="},
      {"dataset", "--id", "a/b"},
      {"dataset", "--id", "a\nb"},
      {"dataset", "--id", ".."},
      {"dataset", "--id", "a", "extra"},
      {"dataset", "--id", "a", "--limit", "0"},
      {"dataset", "--id", "a", "--limit", "many"},
      {"dataset", "--id", "a", "--limit", "99999999999"},
      {"dataset", "--id", "a", "--all", "--limit", "2"},
      {"dataset", "--id", "a", "--batch", "b", "--limit", "2"},
      {"dataset", "--id", "a", "--batch", "b", "--all"},
      {"dataset", "--id", "a", "--batch", "b", "--since", "7d"},
      {"dataset", "--id", "a", "--batch", "b", "--until", "7d"},
      {"dataset", "--id", "a", "--since", "soon"},
      {"dataset", "--id", "a", "--since", "2026-02-01", "--until", "2026-01-01"},
      {"dataset", "--id", "a", "--verify", "hard"},
      {"dataset", "--id", "a", "--format", "xml"},
      {"dataset", "--id", "a", "--quiet", "--verbose"},
      {"segment"},
      {"segment", "--id", "a", "--dataset", "d", "--delete-dataset"},
      {"segment", "--id", "a", "--dataset", "d", "--name", "n"},
      {"segment", "--id", "a", "--no-download", "--delete-dataset"},
      {"segment", "--id", "a", "--keep-dataset", "--delete-dataset"},
      {"segment", "--id", "a", "--no-wait", "--timeout", "1h"},
      {"segment", "--id", "a", "--poll-interval", "0"},
      {"segment", "--id", "a", "--poll-interval", "1m", "--poll-max", "1s"},
      {"segment", "--id", "a", "--timeout", "-3"},
      {"segment", "--id", "a", "--status", ","},
      {"segment", "--id", "a", "--status", "realised"},
      {"segment", "--id", "a", "--status", "realized,entered"},
      {"segment", "--id", "a", "--evaluate", "--wait-for-evaluation"},
      {"segment", "--id", "a", "--evaluate", "--namespace", "AAM"},
      {"segment", "--id", "a", "--events-since", "7d"},
      {"segment", "--id", "a", "--qualified-since", "1d", "--qualified-until", "2d"},
      {"segment", "--id", "a,b c"},
      {"segment", "--id", "a", "--merge-policy", "p:x"},
      {"segment", "--id", "a", "--name", " "},
      {"resume"},
      {"resume", "1", "2"},
      {"resume", "x"},
      {"resume", "0"},
      {"resume", "1", "--last"},
      {"resume", "1", "--all"},
      {"resume", "--last", "--all"},
      {"resume", "1", "--resubmit", "--adopt", "7"},
      {"resume", "--all", "--resubmit"},
      {"cancel"},
      {"cancel", "1", "2"},
      {"history", "12"},
      {"history", "--status", "lost"},
      {"history", "--kind", "other"},
      {"history", "--sql", "SELECT 1", "--limit", "3"},
      {"history", "--format", "text"},
      {"show"},
      {"show", "1", "--last"},
      {"read"},
      {"read", "x", "--sql", "SELECT 1", "--where", "true"},
      {"read", "x", "--sql", "SELECT 1", "--columns", "a"},
      {"read", "x", "--sql", " "},
      {"read", "x", "--limit", "0"},
      {"read", "x", "--memory", "lots"},
      {"scores"},
      {"scores", "x", "--format", "csv"},
      {"verify"},
      {"verify", "1", "2"},
  };
  for (std::vector<std::string> words : cases) {
    const std::string shown = testing::PrintToString(words);
    words.push_back(database);
    const Executed run(words);
    ASSERT_TRUE(run.error) << shown;
    EXPECT_EQ(core::exitCodeOf(run.error->category()), 2) << shown << ": " << run.message();
    EXPECT_EQ(run.output, "") << shown;
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Execute, TakesGlobalOptionsBeforeAndAfterTheCommand) {
  const support::TempDirectory folder;
  const std::string database = (folder / "jobs.db").string();
  EXPECT_EQ(Executed({"--database", database, "history", "--format", "json"}).output, "[]\n");
  EXPECT_EQ(Executed({"history", "--format=json", "--database", database}).output, "[]\n");
  EXPECT_THAT(Executed({"--database", database, "history", "--database", database}).message(),
              HasSubstr("given twice"));
}

TEST(Execute, WithoutADatabaseThereAreNoJobs) {
  const support::TempDirectory folder;
  const std::string database = "--database=" + (folder / "jobs.db").string();
  EXPECT_EQ(Executed({"history", database}).message(), "no failure");
  EXPECT_THAT(Executed({"history", database, "--format", "csv"}).output, testing::StartsWith("job,kind,"));
  EXPECT_EQ(Executed({"resume", "--all", database, "--format", "json"}).output, "[]\n");
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{{"resume", "--last"},
                                                                                     {"resume", "3"},
                                                                                     {"show", "3"},
                                                                                     {"show", "--last"},
                                                                                     {"cancel", "3"},
                                                                                     {"scores", "3"}}) {
    std::vector<std::string> all = words;
    all.push_back(database);
    const Executed run(all);
    ASSERT_TRUE(run.error) << words.front();
    EXPECT_EQ(run.error->category(), core::Category::notFound) << words.front();
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Failure, TellsMessageRequestIdAndHint) {
  const core::Error error(core::Category::auth, "the token \x1b[1m was refused",
                          {.requestId = "r-1", .hint = "renew it"});
  EXPECT_EQ(failureText(error), "caiexport: the token \\x1b[1m was refused\nrequest id: r-1\nhint: renew it");
  EXPECT_EQ(failureDocument(error),
            "{\"job\": null, \"error\": {\"category\": \"auth\", \"message\": \"the token \\u001b[1m was refused\", "
            "\"request_id\": \"r-1\", \"hint\": \"renew it\"}}\n");
  const core::Error refused(core::Category::unavailable,
                            "cannot get a token (6 tries): POST https://ims.example/t/v3: cannot connect: refused");
  EXPECT_EQ(failureText(refused, false), "caiexport: cannot get a token (6 tries): cannot connect: refused");
  EXPECT_THAT(failureText(refused), HasSubstr("https://ims.example/t/v3"));
  EXPECT_EQ(failureText(core::Error(core::Category::usage, "wrong SQL\nLINE 2: x\n        ^")),
            "caiexport: wrong SQL\n  LINE 2: x\n          ^");
  EXPECT_THAT(failureDocument(core::Error(core::Category::io, "x")), HasSubstr("\"request_id\": null"));
}

TEST(Failure, IsADocumentWhereJsonIsAskedFor) {
  const auto asks = [](std::vector<std::string> words) { return asksForJson(words); };
  EXPECT_TRUE(asks({"dataset", "--format", "json"}));
  EXPECT_TRUE(asks({"dataset", "--bogus", "--format=json"}));
  EXPECT_FALSE(asks({"dataset", "--format", "text"}));
  EXPECT_FALSE(asks({"dataset", "json"}));
  EXPECT_FALSE(asks({"read", "--", "--format=json"}));
}

}  // namespace
}  // namespace caiexport::cli
