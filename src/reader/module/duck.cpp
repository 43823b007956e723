#include "duck.h"

#include <algorithm>
#include <array>
#include <utility>

#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "values.h"

namespace caiexport::reader {
namespace {

using core::Category;
using core::Error;

std::string quoted(std::string_view text, char mark) {
  std::string result(1, mark);
  for (const char letter : text) {
    if (letter == mark) result += mark;
    result += letter;
  }
  return result + mark;
}

/// DuckDB's messages have several lines (they point at the place); each is made printable by itself.
std::string printableLines(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (!result.empty()) result += '\n';
    result += core::printable(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// The message with the names that users know.
std::string named(std::string message, const Blame& blame) {
  const auto replace = [&message](const std::string& what, const std::string& by) {
    for (std::size_t at = message.find(what); at != std::string::npos; at = message.find(what, at + by.size())) {
      message.replace(at, what.size(), by);
    }
  };
  if (!blame.place.empty()) replace(blame.place, blame.file);
  // From the end: a name goes before those that it begins with.
  for (auto entry = blame.names.rbegin(); entry != blame.names.rend(); ++entry) replace(entry->first, entry->second);
  return message;
}

/// What a file can't cause: these come from the statement's own words.
bool isAboutStatement(duckdb_error_type type) {
  static constexpr std::array kTypes{DUCKDB_ERROR_PARSER,
                                     DUCKDB_ERROR_SYNTAX,
                                     DUCKDB_ERROR_BINDER,
                                     DUCKDB_ERROR_CATALOG,
                                     DUCKDB_ERROR_PLANNER,
                                     DUCKDB_ERROR_EXPRESSION,
                                     DUCKDB_ERROR_PERMISSION,
                                     DUCKDB_ERROR_CONVERSION,
                                     DUCKDB_ERROR_OUT_OF_RANGE,
                                     DUCKDB_ERROR_DIVIDE_BY_ZERO,
                                     DUCKDB_ERROR_INVALID_TYPE,
                                     DUCKDB_ERROR_MISMATCH_TYPE,
                                     DUCKDB_ERROR_DECIMAL,
                                     DUCKDB_ERROR_SETTINGS,
                                     DUCKDB_ERROR_NOT_IMPLEMENTED,
                                     DUCKDB_ERROR_SEQUENCE,
                                     DUCKDB_ERROR_PARAMETER_NOT_RESOLVED,
                                     DUCKDB_ERROR_PARAMETER_NOT_ALLOWED,
                                     DUCKDB_ERROR_MISSING_EXTENSION,
                                     DUCKDB_ERROR_AUTOLOAD,
                                     DUCKDB_INVALID_CONFIGURATION};
  return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
}

bool isAboutFiles(std::string_view message) {
  return contains(message, "Failed to read file") || contains(message, "arquet");
}

bool isAboutDisk(std::string_view message) {
  return contains(message, "No space left") || contains(message, "Could not write") ||
         contains(message, "Could not create") || contains(message, "Cannot open file");
}

/// Some calls report their text only, which begins with the kind.
duckdb_error_type typeFrom(std::string_view message) {
  static constexpr std::array<std::pair<std::string_view, duckdb_error_type>, 12> kKinds{{
      {"Out of Memory Error", DUCKDB_ERROR_OUT_OF_MEMORY},
      {"INTERRUPT Error", DUCKDB_ERROR_INTERRUPT},
      {"IO Error", DUCKDB_ERROR_IO},
      {"Parser Error", DUCKDB_ERROR_PARSER},
      {"Binder Error", DUCKDB_ERROR_BINDER},
      {"Catalog Error", DUCKDB_ERROR_CATALOG},
      {"Permission Error", DUCKDB_ERROR_PERMISSION},
      {"Conversion Error", DUCKDB_ERROR_CONVERSION},
      {"Out of Range Error", DUCKDB_ERROR_OUT_OF_RANGE},
      {"Not implemented Error", DUCKDB_ERROR_NOT_IMPLEMENTED},
      {"Invalid Configuration Error", DUCKDB_INVALID_CONFIGURATION},
      {"Invalid Input Error", DUCKDB_ERROR_INVALID_INPUT},
  }};
  for (const auto& [kind, type] : kKinds) {
    if (message.starts_with(kind)) return type;
  }
  return DUCKDB_ERROR_INVALID;
}

struct Config {
  Config() {
    if (duckdb_create_config(&handle) == DuckDBError) throw Error(Category::internal, "cannot configure DuckDB");
  }
  ~Config() { duckdb_destroy_config(&handle); }
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;
  void set(const char* name, const std::string& value) {
    if (duckdb_set_config(handle, name, value.c_str()) == DuckDBError) {
      throw Error(Category::internal, std::string("DuckDB refuses the setting ") + name);
    }
  }
  duckdb_config handle = nullptr;
};

const Blame kPreparing{.what = "cannot prepare DuckDB"};

}  // namespace

std::string sqlText(std::string_view text) {
  return quoted(text, '\'');
}

std::string sqlName(std::string_view name) {
  return quoted(name, '"');
}

std::string takeText(char* text) {
  std::string result = text == nullptr ? "" : text;
  duckdb_free(text);
  return result;
}

void throwDuckError(duckdb_error_type type, std::string_view message, const Blame& blame) {
  if (type == DUCKDB_ERROR_INVALID || type == DUCKDB_ERROR_UNKNOWN_TYPE) type = typeFrom(message);
  // DuckDB's advice is about settings that are locked here.
  for (const char* advice : {"\nDatabase is launched", "\nPossible solutions"}) {
    message = message.substr(0, message.find(advice));
  }
  const std::string text = blame.what + ": " + printableLines(named(std::string(message), blame));
  if (type == DUCKDB_ERROR_INTERRUPT) throw core::Interrupted();
  if (type == DUCKDB_ERROR_OUT_OF_MEMORY) {
    throw core::outOfMemory(text);
  }
  if (isAboutDisk(message)) throw Error(Category::io, text);
  if (blame.usersSql && (isAboutStatement(type) || !isAboutFiles(message))) {
    throw Error(Category::usage, text, {.hint = "the rows are in the view `profiles`"});
  }
  throw Error(Category::verification, text,
              {.hint = blame.file.empty() ? "`caiexport verify` shows which files are damaged"
                                          : "fetch it again: remove the file and resume its job"});
}

Rows::Rows(Duck& duck, const Statement& statement, Blame blame, const std::stop_token& stop)
    : duck_(duck), blame_(std::move(blame)) {
  if (stop.stop_requested()) throw core::Interrupted();
  duckdb_pending_result pending = nullptr;
  const duckdb_state started = duckdb_pending_prepared_streaming(statement.get(), &pending);
  duck_.execute(pending, started, result_, blame_, stop);
}

Rows::~Rows() {
  if (!ended_) duck_.interrupt();
  duckdb_destroy_result(&result_);
  if (!ended_) duck_.endStatement();
}

Chunk Rows::next() {
  Chunk chunk(duckdb_fetch_chunk(result_));
  if (chunk != nullptr) return chunk;
  const char* reason = duckdb_result_error(&result_);
  if (reason != nullptr && *reason != '\0') throwDuckError(duckdb_result_error_type(&result_), reason, blame_);
  ended_ = true;
  return nullptr;
}

std::string Statement::columnName(std::size_t index) const {
  const char* name = duckdb_prepared_statement_column_name(handle_.get(), index);
  return takeText(const_cast<char*>(name));
}

LogicalType Statement::columnType(std::size_t index) const {
  return LogicalType(duckdb_prepared_statement_column_logical_type(handle_.get(), index));
}

Duck::Duck(const ReaderSettings& settings, const Access& access) {
  // Nothing is fetched, loaded or read but what is named; a user's statement can't change that: it can be a SELECT
  // only, and the settings are locked before.
  Config config;
  config.set("autoinstall_known_extensions", "false");
  config.set("autoload_known_extensions", "false");
  config.set("allow_community_extensions", "false");
  config.set("threads", std::to_string(settings.threads));
  config.set("memory_limit", std::to_string(settings.memoryBytes) + "B");
  config.set("temp_directory", settings.tempDirectory.string());
  char* error = nullptr;
  if (duckdb_open_ext(nullptr, &database_, config.handle, &error) == DuckDBError) {
    throw Error(Category::internal, "cannot start DuckDB: " + printableLines(takeText(error)));
  }
  if (duckdb_connect(database_, &connection_) == DuckDBError) {
    duckdb_close(&database_);
    throw Error(Category::internal, "cannot connect to DuckDB");
  }
  try {
    run("SET allowed_paths = [" + core::joined(access.paths, ", ", [](const auto& path) { return sqlText(path); }) +
            "]",
        kPreparing);
    run("SET TimeZone = 'UTC'", kPreparing);
    if (access.filesChange) run("SET enable_external_file_cache = false", kPreparing);
    if (access.keepFooters) run("SET parquet_metadata_cache = true", kPreparing);
    run("SET enable_external_access = false", kPreparing);
  } catch (...) {
    duckdb_disconnect(&connection_);
    duckdb_close(&database_);
    throw;
  }
}

Duck::~Duck() {
  duckdb_disconnect(&connection_);
  duckdb_close(&database_);
}

void Duck::lockSettings() {
  if (!locked_) run("SET lock_configuration = true", kPreparing);
  locked_ = true;
}

void Duck::keepMoreRows() {
  if (!locked_) run("SET streaming_buffer_size = '16MB'", kPreparing);
}

OneThread::OneThread(Duck& duck, unsigned threads) : duck_(duck), threads_(threads) {
  if (threads_ == 1 || duck_.areSettingsLocked()) threads_ = 0;
  if (threads_ != 0) duck_.run("SET threads = 1", kPreparing);
}

OneThread::~OneThread() {
  if (threads_ == 0) return;
  try {
    duck_.run("SET threads = " + std::to_string(threads_), kPreparing);
  } catch (const Error&) {
    // What comes later takes longer.
  }
}

Statement Duck::prepareSelect(const std::string& sql, const Blame& blame) {
  if (sql.find('\0') != std::string::npos) throw Error(Category::usage, blame.what + ": the SQL holds a NUL character");
  duckdb_extracted_statements extracted = nullptr;
  const idx_t count = duckdb_extract_statements(connection_, sql.c_str(), &extracted);
  const Owned<duckdb_extracted_statements, duckdb_destroy_extracted> owner(extracted);
  if (count != 1) {
    const char* reason = duckdb_extract_statements_error(extracted);
    if (count == 0 && reason != nullptr) throwDuckError(DUCKDB_ERROR_PARSER, reason, blame);
    throw Error(Category::usage, blame.what + ": it must be one SELECT statement, not " + std::to_string(count),
                {.hint = "the rows are in the view `profiles`"});
  }
  duckdb_prepared_statement handle = nullptr;
  const duckdb_state state = duckdb_prepare_extracted_statement(connection_, extracted, 0, &handle);
  Statement statement(handle);
  if (state == DuckDBError) throwDuckError(DUCKDB_ERROR_INVALID, duckdb_prepare_error(handle), blame);
  if (duckdb_prepared_statement_type(handle) != DUCKDB_STATEMENT_TYPE_SELECT) {
    throw Error(Category::usage, blame.what + ": only a SELECT statement is allowed",
                {.hint = "the rows are in the view `profiles`"});
  }
  if (duckdb_nparams(handle) != 0) {
    throw Error(Category::usage, blame.what + ": parameters (`?`, `$1`) have no values here");
  }
  return statement;
}

void Duck::run(const std::string& sql, const Blame& blame) {
  changedRows(sql, blame, {});
}

std::uint64_t Duck::changedRows(const std::string& sql, const Blame& blame, std::stop_token stop) {
  const InterruptOnStop interrupt(stop, *this);
  duckdb_prepared_statement handle = nullptr;
  const duckdb_state prepared = duckdb_prepare(connection_, sql.c_str(), &handle);
  const Statement statement(handle);
  if (prepared == DuckDBError) throwDuckError(DUCKDB_ERROR_INVALID, duckdb_prepare_error(handle), blame);
  if (stop.stop_requested()) throw core::Interrupted();
  duckdb_pending_result pending = nullptr;
  const duckdb_state started = duckdb_pending_prepared(handle, &pending);
  duckdb_result result{};
  execute(pending, started, result, blame, stop);
  const std::uint64_t changed = duckdb_rows_changed(&result);
  duckdb_destroy_result(&result);
  return changed;
}

void Duck::execute(duckdb_pending_result handle, duckdb_state started, duckdb_result& result, const Blame& blame,
                   const std::stop_token& stop) {
  Owned<duckdb_pending_result, duckdb_destroy_pending> pending(handle);
  if (started == DuckDBError) {
    const char* reason = duckdb_pending_error(handle);
    throwDuckError(DUCKDB_ERROR_INVALID, reason == nullptr ? "no reason given" : reason, blame);
  }
  // DuckDB forgets an interrupt that came before the start. It is told again and then waited for: a statement that is
  // destroyed while its threads are still being set going takes the process with it (seen with 1.4.4).
  if (stop.stop_requested()) interrupt();
  if (duckdb_execute_pending(handle, &result) == DuckDBSuccess) return;
  const duckdb_error_type type = duckdb_result_error_type(&result);
  const char* reason = duckdb_result_error(&result);
  const std::string message = reason == nullptr ? "no reason given" : reason;
  duckdb_destroy_result(&result);
  throwDuckError(type, message, blame);
}

void Duck::endStatement() noexcept {
  interrupt();
  // A connection that is closed while an exception unwinds frees what its threads still work on (DuckDB's ClientContext
  // skips its clean-up then). Preparing another statement first stops them and waits for them.
  duckdb_prepared_statement other = nullptr;
  duckdb_prepare(connection_, "SELECT 1", &other);
  duckdb_destroy_prepare(&other);
}

std::vector<std::string> Duck::texts(const std::string& sql, const Blame& blame) {
  std::vector<std::string> values;
  forEachRow(*this, prepareSelect(sql, blame), blame, {}, [&values](const ChunkView& view, std::uint64_t row) {
    if (!view[0].isNull(row)) values.emplace_back(view[0].text(row));
  });
  return values;
}

std::vector<std::int64_t> Duck::numbers(const std::string& sql, const Blame& blame) {
  std::vector<std::int64_t> values;
  forEachRow(*this, prepareSelect(sql, blame), blame, {}, [&values](const ChunkView& view, std::uint64_t row) {
    for (const VectorView& column : view.columns) {
      values.push_back(column.isNull(row) ? 0 : column.at<std::int64_t>(row));
    }
  });
  return values;
}

}  // namespace caiexport::reader
