#include "read_schema.h"

#include <array>
#include <string>
#include <vector>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "cli/option_values.h"
#include "cli/output/job_text.h"
#include "cli/output/listing.h"
#include "cli/output/output_file.h"
#include "reading.h"

namespace caiexport::cli {
namespace {

constexpr std::size_t kLongest = 60;

std::string jsonOf(const std::vector<reader::SchemaField>& fields) {
  std::string text;
  json::Writer writer([&text](std::string_view piece) { text += piece; });
  writer.beginArray();
  for (const reader::SchemaField& field : fields) {
    writer.beginObject();
    writer.key("column").value(field.path);
    writer.key("type").value(field.type);
    writer.key("example").value(field.example);
    writer.endObject();
  }
  writer.endArray();
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

}  // namespace

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
    deliverText(reading.output(), reading.scratch(), context, reading.stop(), text);
    tellWritten(reading.output(), grouped(fields.size()) + " columns", context);
  });
  return {};
}

}  // namespace caiexport::cli
