#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <vector>

#include "caiexport/cli/application.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "cli/config/settings.h"
#include "cli/output/job_output.h"
#include "cli/output/output_file.h"
#include "commands.h"
#include "reading.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::array<Option, 15> kRows{{
    {"last", "", "the newest job that has files"},
    {"columns", "PATHS",
     R"(only these columns, separated by commas; a group stands for all its fields, e.g. _id,score)"},
    {"all-columns", "",
     R"(write all columns; otherwise csv and xlsx of scores have only identities, score, bucket,
percentile and date)"},
    {"where", "SQL", "only rows that fulfil this condition, e.g. \"score >= 75\""},
    {"sql", "SELECT", "print the result of this SELECT instead; the view is called profiles"},
    {"identity", "NAMESPACES", "put these identities of identityMap into columns of their own, e.g. ECID,CRMID"},
    {"schema", "", "list the columns instead, with types and an example (--format table, json or csv)"},
    {"limit", "N", "at most N rows [20 in a table, all in other formats]"},
    {"all-batches", "", "read all batches in a dataset's folder, not only the newest"},
    {"format", "table|csv|jsonl|parquet|xlsx|json",
     R"(how rows are printed; nested columns get dotted names in csv and stay nested in jsonl [by the
ending of --output, else table])"},
    {"for", "excel", "write csv that Excel opens correctly: marked as UTF-8, ids kept as text, no exponents"},
    {"separator", "comma|semicolon|tab",
     R"(what stands between the fields of --for excel; a semicolon goes with decimal commas [by the
locale])"},
    {"exact", "", R"(leave csv text as it is: put no ' before text that a spreadsheet would run as a formula (=, +,
-, @, tab))"},
    {"output", "FILE", "write to FILE instead of standard output"},
    {"memory", "SIZE", "use at most this much memory, e.g. 2G [half of the machine's]"},
}};

enum class Format { table, csv, jsonl, parquet, xlsx };

struct ReadOptions {
  reader::ReadQuery query;
  Format format = Format::table;
  reader::RowFormat csv = reader::RowFormat::csv;
};

reader::RowFormat csvFormat(const ParsedOptions& options, const Environment& environment) {
  requireWith(options, "separator", "for");
  refuseTogether(options, {"for", "exact"});
  if (!options.has("for")) return options.has("exact") ? reader::RowFormat::csvExact : reader::RowFormat::csv;
  constexpr std::array<std::string_view, 1> kPrograms{"excel"};
  wordOption(options, "for", kPrograms);
  constexpr std::array<std::string_view, 3> kSeparators{"comma", "semicolon", "tab"};
  const std::string word = options.has("separator")            ? wordOption(options, "separator", kSeparators)
                           : environment.writesDecimalCommas() ? "semicolon"
                                                               : "comma";
  if (word == "semicolon") return reader::RowFormat::csvExcelSemicolon;
  return word == "tab" ? reader::RowFormat::csvExcelTab : reader::RowFormat::csvExcel;
}

Format parseFormat(const ParsedOptions& options) {
  constexpr std::array<std::string_view, 5> kFormats{"table", "csv", "jsonl", "parquet", "xlsx"};
  std::string word = formatFor(options, "format", kFormats);
  if (options.has("for")) {
    if (word == "table" && !options.has("format")) word = "csv";
    if (word != "csv") throwUsage("--for excel is about csv, not " + word);
  }
  if (options.has("exact") && word != "csv") {
    throwUsage("--exact is about csv, not " + word);
  }
  return static_cast<Format>(std::ranges::find(kFormats, word) - kFormats.begin());
}

ReadOptions parse(const ParsedOptions& options, const Environment& environment) {
  refuseTogether(options, {"sql", "columns"});
  refuseTogether(options, {"sql", "where"});
  refuseTogether(options, {"all-columns", "columns"});
  refuseTogether(options, {"all-columns", "sql"});
  const Format format = parseFormat(options);
  const bool forPeople = format == Format::csv || format == Format::xlsx;
  return {.query = {.columns = listOption(options, "columns"),
                    .where = options.value("where").value_or(""),
                    .sql = options.value("sql").value_or(""),
                    .identities = listOption(options, "identity"),
                    .limit = numberOption(options, "limit", 1, std::numeric_limits<std::int64_t>::max()),
                    .scoreColumns = forPeople && !options.has("all-columns")},
          .format = format,
          .csv = csvFormat(options, environment)};
}

void refuseEmptySql(const ParsedOptions& options) {
  for (const std::string_view name : {"where", "sql"}) {
    const auto text = options.value(name);
    if (text && core::trim(*text).empty()) throwUsage("--" + std::string(name) + " is empty");
  }
}

void tellRows(const Reading& reading, std::uint64_t rows, Context& context) {
  tellWritten(reading.output(), grouped(rows) + (rows == 1 ? " row" : " rows"), context);
}

void writeRows(Reading& reading, const ReadOptions& parsed, Context& context) {
  const reader::RowFormat format = parsed.format == Format::csv ? parsed.csv : reader::RowFormat::jsonl;
  std::uint64_t rows = 0;
  deliverRows(reading.delivery(),
              [&](reader::Output& out) { rows = reading.profiles().rows(parsed.query, format, out, reading.stop()); });
  tellRows(reading, rows, context);
}

void writeParquet(Reading& reading, const ReadOptions& parsed, Context& context) {
  // A Parquet file ends in its footer, so it is made whole before any of it is sent.
  std::uint64_t rows = 0;
  deliverFile(reading.delivery(), [&](const fs::path& file) {
    rows = reading.profiles().writeParquet(parsed.query, file, reading.stop());
  });
  tellRows(reading, rows, context);
}

void writeSheet(Reading& reading, const ReadOptions& parsed, Context& context) {
  reader::SheetFacts facts;
  deliverFile(reading.delivery(),
              [&](const fs::path& file) { facts = reading.profiles().writeSheet(parsed.query, file, reading.stop()); });
  tellRows(reading, facts.rows, context);
  if (facts.sheets > 1) {
    context.console.notice("caiexport: a sheet holds at most 1,048,575 rows, so the rows are spread over " +
                           grouped(facts.sheets) + " sheets");
  }
}

void writeTable(Reading& reading, const ReadOptions& parsed, Context& context) {
  const reader::Table table = reading.profiles().table(parsed.query, reading.stop());
  const std::size_t width = reading.output().given() ? 0 : context.out.width();
  deliverText(reading.delivery(), reader::renderTable(table, width));
  tellRows(reading, table.rows.size(), context);
  if (table.more) {
    context.console.notice("caiexport: these are the first " + grouped(table.rows.size()) +
                           " rows; --limit shows more, --format csv|jsonl|parquet|xlsx writes all");
  }
}

// --- --schema

constexpr std::size_t kLongest = 60;

std::string jsonOf(const std::vector<reader::SchemaField>& fields) {
  std::string text;
  json::Writer writer(text);
  writer.objects(fields, [&](const reader::SchemaField& field) {
    writer.key("column").value(field.path);
    writer.key("type").value(field.type);
    writer.key("example").value(field.example);
  });
  return text + "\n";
}

std::string csvOf(const std::vector<reader::SchemaField>& fields) {
  std::string text = "column,type,example\r\n";
  for (const reader::SchemaField& field : fields) {
    text += csvField(field.path) + "," + csvField(field.type) + "," + (field.example ? csvField(*field.example) : "");
    text += "\r\n";
  }
  return text;
}

/// Whole paths, since they are what is typed; one line each, or two where the terminal is too narrow.
std::string tableOf(const std::vector<reader::SchemaField>& fields, std::size_t width) {
  constexpr std::size_t kLongestType = 28;
  reader::Table table{.columns = {{"column", "", false}, {"type", "", false}, {"example", "", false}}};
  for (const reader::SchemaField& field : fields) {
    const std::string type = core::printable(field.type, kLongest);
    table.rows.push_back({core::printable(field.path), width == 0 ? type : reader::fitTo(type, kLongestType),
                          reader::fitTo(field.example.value_or("-"), kLongest)});
  }
  constexpr std::size_t kShortestExample = 8;
  if (fitLastColumn(table, width, kShortestExample)) return reader::renderTable(table, width);
  std::string text;
  for (const auto& row : table.rows) {
    text += reader::fitTo(row[0], width) + "\n" + reader::fitTo("  " + row[1] + "  " + row[2], width) + "\n";
  }
  return text;
}

/// `read --schema`: which columns there are, with their types and an example.
CommandEnd runSchema(const ParsedOptions& options, Context& context) {
  for (const std::string_view other :
       {"columns", "where", "sql", "identity", "limit", "exact", "all-columns", "for", "separator"}) {
    refuseTogether(options, {"schema", other});
  }
  constexpr std::array<std::string_view, 3> kFormats{"table", "json", "csv"};
  const std::string format = formatFor(options, "format", kFormats);
  Reading reading(options, context);
  reading.run([&] {
    const auto fields = reading.profiles().examples(reading.stop());
    const bool bounded = !reading.output().given() && context.out.terminal();
    const std::string text = format == "json"  ? jsonOf(fields)
                             : format == "csv" ? csvOf(fields)
                                               : tableOf(fields, bounded ? context.out.width() : 0);
    deliverText(reading.delivery(), text);
    tellWritten(reading.output(), grouped(fields.size()) + " columns", context);
  });
  return {};
}

}  // namespace

const CommandPage& readPage() {
  static const CommandPage page{
      .name = "read",
      .summary = "rows of what was downloaded: table, CSV, JSON lines, Parquet, xlsx, SQL",
      .arguments = "JOB|PATH...|--last",
      .description =
          R"(Reads the Parquet files of the given jobs, folders or files as one set of rows. A number is the
number of a job; write ./12 for a file that is called 12. Replaced batches are left out. The columns
_batch_id, _batch_created and _file are shown only if you name them.)",
      .groups = {{"Rows", kRows}, globalGroup()},
      .examples =
          {{"caiexport read 12", "the first rows of job 12"},
           {"caiexport read 12 --identity CRMID --columns CRMID,_tenant.churn.score --format csv --output scores.csv",
            "scores with the customer number, to join with your own tables"},
           {"caiexport read 12 --output scores.xlsx",
            "a spreadsheet of identities, score, bucket, percentile and date"},
           {"caiexport read 12 --sql \"SELECT count(*) FROM profiles\"", "your own query"}},
      .exitCodes = {0, 1, 2, 4, 7, 8, 9, 130}};
  return page;
}

CommandEnd runRead(const ParsedOptions& options, Context& context) {
  refuseEmptySql(options);
  if (options.has("schema")) return runSchema(options, context);
  const ReadOptions parsed = parse(options, context.environment);
  const std::string binary = parsed.format == Format::parquet ? "parquet" : parsed.format == Format::xlsx ? "xlsx" : "";
  refuseBinaryAtTerminal(binary, OutputTarget(options), context);
  Reading reading(options, context);
  reading.run([&] {
    const auto write = parsed.format == Format::table     ? writeTable
                       : parsed.format == Format::parquet ? writeParquet
                       : parsed.format == Format::xlsx    ? writeSheet
                                                          : writeRows;
    write(reading, parsed, context);
  });
  return {};
}

}  // namespace caiexport::cli
