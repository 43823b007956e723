#include <array>
#include <limits>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "cli/option_values.h"
#include "cli/output/job_text.h"
#include "cli/output/output_file.h"
#include "commands.h"
#include "read_schema.h"
#include "reading.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::array<Option, 12> kRows{{
    {"last", "", "the newest job that brought files"},
    {"columns", "PATHS", "these columns, comma separated; a group means all its fields, e.g. _id,score"},
    {"where", "SQL", "rows for which this holds, e.g. \"score >= 75\""},
    {"sql", "SELECT", "one SELECT over the view profiles instead"},
    {"identity", "NAMESPACES", "identities of identityMap as columns, e.g. ECID,CRMID"},
    {"schema", "", "the columns instead, with their types and an example (--format table, json, csv)"},
    {"limit", "N", "at most N rows [a table 20, other formats all]"},
    {"all-batches", "", "every batch of a dataset's folder, not the newest alone"},
    {"format", "table|csv|jsonl|parquet|json",
     "nested columns are dotted in csv and stay nested in jsonl [as --output ends, else table]"},
    {"exact", "", "csv text as it is: without the ' before what a spreadsheet would run (=, +, -, @, tab)"},
    {"output", "FILE", "write there instead of standard output"},
    {"memory", "SIZE", "the most memory to use, e.g. 2G [half of it]"},
}};

enum class Format { table, csv, jsonl, parquet };

struct ReadOptions {
  reader::ReadQuery query;
  Format format = Format::table;
  bool exact = false;
};

Format parseFormat(const ParsedOptions& options) {
  constexpr std::array<std::string_view, 4> kFormats{"table", "csv", "jsonl", "parquet"};
  const std::string word = formatFor(options, "format", kFormats);
  if (word == "csv") return Format::csv;
  if (word == "jsonl") return Format::jsonl;
  return word == "parquet" ? Format::parquet : Format::table;
}

ReadOptions parse(const ParsedOptions& options) {
  refuseTogether(options, {"sql", "columns"});
  refuseTogether(options, {"sql", "where"});
  return {.query = {.columns = listOption(options, "columns"),
                    .where = options.value("where").value_or(""),
                    .sql = options.value("sql").value_or(""),
                    .identities = listOption(options, "identity"),
                    .limit = numberOption(options, "limit", 1, std::numeric_limits<std::int64_t>::max())},
          .format = parseFormat(options),
          .exact = options.has("exact")};
}

void refuseEmptySql(const ParsedOptions& options) {
  for (const std::string_view name : {"where", "sql"}) {
    const auto text = options.value(name);
    if (text && core::trim(*text).empty())
      throw core::Error(core::Category::usage, "--" + std::string(name) + " is empty");
  }
}

void tellRows(const Reading& reading, std::uint64_t rows, Context& context) {
  tellWritten(reading.output(), grouped(rows) + (rows == 1 ? " row" : " rows"), context);
}

void writeRows(Reading& reading, const ReadOptions& parsed, Context& context) {
  const reader::RowFormat csv = parsed.exact ? reader::RowFormat::csvExact : reader::RowFormat::csv;
  const reader::RowFormat format = parsed.format == Format::csv ? csv : reader::RowFormat::jsonl;
  std::uint64_t rows = 0;
  deliverRows(reading.output(), reading.scratch(), context, reading.stop(),
              [&](reader::Output& out) { rows = reading.profiles().rows(parsed.query, format, out, reading.stop()); });
  tellRows(reading, rows, context);
}

void writeParquet(Reading& reading, const ReadOptions& parsed, Context& context) {
  // A Parquet file ends in its footer, so it is made whole before any of it is sent.
  std::uint64_t rows = 0;
  deliverFile(reading.output(), reading.scratch(), context, reading.stop(), [&](const fs::path& file) {
    rows = reading.profiles().writeParquet(parsed.query, file, reading.stop());
  });
  tellRows(reading, rows, context);
}

void writeTable(Reading& reading, const ReadOptions& parsed, Context& context) {
  const reader::Table table = reading.profiles().table(parsed.query, reading.stop());
  const std::size_t width = reading.output().given() ? 0 : context.out.width();
  deliverText(reading.output(), reading.scratch(), context, reading.stop(), reader::renderTable(table, width));
  tellRows(reading, table.rows.size(), context);
  if (table.more) {
    context.console.notice("caiexport: these are the first " + grouped(table.rows.size()) +
                           " rows; --limit shows more, --format csv|jsonl|parquet writes all");
  }
}

}  // namespace

const CommandPage& readPage() {
  static const CommandPage page{
      .name = "read",
      .summary = "rows of what was downloaded: table, CSV, JSON lines, Parquet, SQL",
      .arguments = "JOB|PATH...|--last",
      .description =
          "Reads the Parquet files of jobs, folders or files as one set. A number is a job, unless a file of "
          "that name is here (then ./12 is the file). Extra columns, shown when named: _batch_id, "
          "_batch_created, _file. Replaced batches are left out.",
      .groups = {{"Rows", kRows}, globalGroup()},
      .examples =
          {{"caiexport read 12", "the first rows of job 12"},
           {"caiexport read 12 --identity CRMID --columns CRMID,_tenant.churn.score --format csv --output scores.csv",
            "scores by customer number, to join with your own tables"},
           {"caiexport read 12 --sql \"SELECT count(*) FROM profiles\"", "any question"}},
      .exitCodes = {0, 1, 2, 4, 8, 9, 130}};
  return page;
}

CommandEnd runRead(const ParsedOptions& options, Context& context) {
  refuseEmptySql(options);
  if (options.has("schema")) return runSchema(options, context);
  const ReadOptions parsed = parse(options);
  if (parsed.format == Format::parquet && !options.has("output") && context.out.terminal()) {
    throw core::Error(core::Category::usage, "Parquet is not for a terminal", {.hint = "name a file with --output"});
  }
  Reading reading(options, context);
  reading.run([&] {
    switch (parsed.format) {
      case Format::table:
        return writeTable(reading, parsed, context);
      case Format::csv:
      case Format::jsonl:
        return writeRows(reading, parsed, context);
      case Format::parquet:
        return writeParquet(reading, parsed, context);
    }
  });
  return {};
}

}  // namespace caiexport::cli
