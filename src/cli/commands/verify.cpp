#include <array>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "cli/config/config.h"
#include "cli/output/job_output.h"
#include "commands.h"
#include "input_files.h"
#include "verify_check.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::array<Option, 2> kHow{{
    {"last", "", "the newest job that has files"},
    {"format", "text|json", "how the result is printed on standard output [text]"},
}};

Expectation find(const ParsedOptions& options, Context& context) {
  if (options.has("last")) {
    if (!options.arguments().empty()) {
      throw core::Error(core::Category::usage, "--last and a job or folder contradict each other");
    }
    Configuration configuration(options, context.environment);
    InputFinder finder(configuration);
    return expectedOfJob(finder, finder.lastJob());
  }
  if (options.arguments().size() != 1) throw core::Error(core::Category::usage, "give one job number or one folder");
  const std::string& argument = options.arguments().front();
  std::error_code ignored;
  if (fs::is_directory(argument, ignored)) return expectedInFolder(argument);
  if (!InputFinder::isJob(argument)) {
    throw core::Error(core::Category::notFound, "there is no folder or job '" + core::printable(argument, 200) + "'");
  }
  Configuration configuration(options, context.environment);
  InputFinder finder(configuration);
  return expectedOfJob(finder, argument);
}

CommandEnd verdict(const Expectation& expectation, const VerifyReport& report) {
  if (report.problems.empty()) return {};
  const std::size_t count = report.problems.size();
  const std::string wayOn =
      expectation.job
          ? "caiexport resume " + std::to_string(*expectation.job) + " downloads again what is gone or was changed"
          : "export again into another --output, or move wrong files away and export again";
  return core::Error(core::Category::verification,
                     std::to_string(count) + (count == 1 ? " difference" : " differences") +
                         " between what is on disk and what was recorded",
                     {.hint = wayOn});
}

void printJson(const Expectation& expectation, const VerifyReport& report, const CommandEnd& end, StandardOutput& out) {
  json::Writer json([&](std::string_view text) { out.write(text); });
  json.beginObject();
  json.key("job").value(expectation.job);
  json.key("batch_ids").beginArray();
  for (const ExpectedBatch& batch : expectation.batches) json.value(batch.batchId);
  json.endArray();
  json.key("files").value(report.files);
  json.key("bytes").value(report.bytes);
  json.key("records").value(report.records);
  json.key("not_counted").beginArray();
  for (const fs::path& path : report.notCounted) json.value(path.string());
  json.endArray();
  json.key("replaced");
  writeReplacements(json, expectation.replaced);
  json.key("problems").beginArray();
  for (const Problem& problem : report.problems) {
    json.beginObject();
    json.key("path").value(problem.path.string());
    json.key("batch_id").value(problem.batchId);
    json.key("problem").value(nameOf(problem.difference));
    json.key("detail").value(problem.detail);
    json.endObject();
  }
  json.endArray();
  endDocument(json, end, out);
}

void printText(const Expectation& expectation, const VerifyReport& report, StandardOutput& out) {
  for (const model::Replacement& one : expectation.replaced) {
    out.write("batch " + core::printable(one.batch.value(), 80) + ": " + replacementText(one) + "\n");
  }
  for (const Problem& problem : report.problems) {
    out.write(std::string(nameOf(problem.difference)) + "  " + core::printable(problem.path.string()) +
              (problem.detail.empty() ? "" : ": " + core::printable(problem.detail)) + "\n");
  }
  for (const fs::path& path : report.notCounted) {
    out.write("not counted  " + core::printable(path.string()) + ": it is no table of this batch\n");
  }
  if (!report.problems.empty()) return;
  if (expectation.batches.empty()) {
    out.write("nothing is left to verify\n");
    return;
  }
  std::string text = "all " + grouped(report.files) + " files are as recorded: " + core::formatBytes(report.bytes);
  if (report.records > 0) text += ", " + recordsText(report.records, expectation.batches.size());
  out.write(text + "\n");
}

}  // namespace

const CommandPage& verifyPage() {
  static const CommandPage page{
      .name = "verify",
      .summary = "check files on disk against what was recorded",
      .arguments = "JOB|DIR|--last",
      .description =
          R"(Checks the files of a job against its record, or those of a folder against its manifest.json: size,
SHA-256 and number of rows. Names files that are missing, changed, or do not belong there.)",
      .groups = {{"How", kHow}, globalGroup()},
      .examples = {{"caiexport verify 12", "the files of job 12"},
                   {"caiexport verify /data/scores/5dd603781b95cc18a83d42ce", "all batches in a folder"}},
      .exitCodes = {0, 1, 2, 4, 8, 9, 130}};
  return page;
}

CommandEnd runVerify(const ParsedOptions& options, Context& context) {
  const TextOrJson format = formatOption(options);
  const Expectation expectation = find(options, context);
  const VerifyReport report = checkAll(expectation, VerifyCheck::Look::contents, context);
  CommandEnd end = verdict(expectation, report);
  if (format == TextOrJson::json) {
    printJson(expectation, report, end, context.out);
  } else {
    printText(expectation, report, context.out);
  }
  return end;
}

}  // namespace caiexport::cli
