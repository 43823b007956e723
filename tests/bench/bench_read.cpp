/// caiexport-bench-read: one measured run, as its own process so that the peak memory is its own.
///
///   generate DIR ROWS FILES                  writes the data set, and the one before it to DIR-before: a tenth of its
///                                            people are others, and all have other scores
///   ours WHAT DIR OUT                        through the reader
///   duckdb WHAT DIR OUT                      the same projection, or join, by DuckDB itself
///
/// WHAT of both: csv, jsonl, scores, against, identity (one identity of each customer, its score, percentile and date
/// as CSV), sheet (the first 200,000 rows, flat: a workbook of ours; DuckDB writes the CSV that others make one of).
/// Of ours: first20 (the first 20 rows as a table). Of DuckDB: first (the first row of DIR/*.parquet).
///
/// OUT is a file; `-` is standard output (ours only). Prints `SECONDS CPU_SECONDS PEAK_KIB ROWS` to standard error.

#include <duckdb.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "caiexport/reader/parquet_reader.h"
#include "caiexport/reader/score_report.h"
#include "profile_data.h"

namespace {

namespace fs = std::filesystem;
using namespace caiexport;

constexpr std::uint64_t kSheetRows = 200'000;
const std::string kGroup = "_tenant.customerAI.churn_q3";

std::vector<fs::path> filesIn(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".parquet") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

struct Connection {
  Connection() {
    duckdb_open(nullptr, &database);
    duckdb_connect(database, &handle);
  }
  ~Connection() {
    duckdb_disconnect(&handle);
    duckdb_close(&database);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  duckdb_database database = nullptr;
  duckdb_connection handle = nullptr;
};

fs::path beforeOf(const fs::path& folder) {
  return folder.string() + "-before";
}

void generate(const fs::path& folder, std::uint64_t rows, std::uint64_t count) {
  Connection connection;
  const auto write = [&](const fs::path& into, std::uint64_t first, std::uint64_t salt) {
    fs::create_directories(into);
    for (std::uint64_t index = 0; index < count; ++index) {
      const std::uint64_t from = rows * index / count;
      char name[64];
      std::snprintf(name, sizeof name, "part-%05u.snappy.parquet", static_cast<unsigned>(index));
      bench::writeProfiles(connection.handle, into / name, first + from, rows * (index + 1) / count - from, salt);
    }
  };
  write(folder, 0, 1);
  write(beforeOf(folder), rows / 10, 5);
}

class DescriptorOutput final : public reader::Output {
 public:
  explicit DescriptorOutput(int descriptor) : descriptor_(descriptor) {}
  bool write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return true;
  }

 private:
  int descriptor_;
};

std::uint64_t runOurs(const std::string& what, const fs::path& folder, const std::string& out) {
  const auto parquet = reader::openReader({});
  const auto inputs = [](const fs::path& of) {
    std::vector<reader::InputFile> files;
    for (const fs::path& path : filesIn(of)) files.push_back({.path = path});
    return files;
  };
  if (what == "against") {
    const reader::Comparison moved = parquet->openPair(inputs(folder), inputs(beforeOf(folder)))->compare({}, {});
    std::ofstream(out) << moved.both << ' ' << moved.rose << '\n';
    return moved.both;
  }
  const auto profiles = parquet->open(inputs(folder));
  if (what == "scores") {
    const reader::ScoreSummary summary = profiles->scores("", {});
    std::ofstream(out) << reader::jsonReport(summary);
    return summary.records;
  }
  if (what == "first20") {
    const reader::Table table = profiles->table({.limit = 20}, {});
    std::ofstream(out) << reader::renderTable(table, 120);
    return table.rows.size();
  }
  if (what == "sheet") return profiles->writeSheet({.limit = kSheetRows}, out, {}).rows;
  std::FILE* file = out == "-" ? stdout : std::fopen(out.c_str(), "w");
  DescriptorOutput output(fileno(file));
  reader::ReadQuery query;
  if (what == "identity") {
    query.identities = {"CRMID"};
    for (const char* field : {"score", "percentile", "scoreDate"})
      query.columns.push_back(kGroup + ("." + std::string(field)));
  }
  const auto format = what == "jsonl" ? reader::RowFormat::jsonl : reader::RowFormat::csv;
  const std::uint64_t rows = profiles->rows(query, format, output, {});
  if (out != "-") std::fclose(file);
  return rows;
}

/// The projection that the reader's CSV has: fields of groups as columns, maps and lists as JSON.
const char* const kFlat = R"sql(
SELECT _id, _tenant.customerAI.churn_q3.score AS "s1", _tenant.customerAI.churn_q3.probability AS "s2",
  _tenant.customerAI.churn_q3.percentile AS "s3", _tenant.customerAI.churn_q3.calibratedScore AS "s4",
  _tenant.customerAI.churn_q3.scoreDate AS "s5", _tenant.customerAI.churn_q3.expiryDate AS "s6",
  _tenant.customerAI.churn_q3.modelId AS "s7", _tenant.customerAI.churn_q3.modelVersion AS "s8",
  to_json(_tenant.customerAI.churn_q3.influentialFactors) AS "s9", to_json(identityMap) AS identityMap,
  to_json(segmentMembership) AS segmentMembership, person."name".firstName AS f, person."name".lastName AS l,
  personalEmail.address AS a, "timestamp", _region FROM )sql";

/// The primary CRMID of each customer where there is one, else the first.
std::string identityStatement(const std::string& source) {
  return "SELECT coalesce(list_filter(identityMap['CRMID'], lambda x: x.\"primary\")[1].id, "
         "identityMap['CRMID'][1].id) "
         "AS CRMID, " +
         kGroup + ".score AS \"score\", " + kGroup + ".percentile AS \"percentile\", " + kGroup +
         ".scoreDate AS \"scoreDate\" FROM " + source;
}

/// What the reader's summary holds.
std::vector<std::string> scoreStatements(const std::string& source) {
  return {
      "SELECT count(*), count(s), min(s), max(s), avg(s), stddev_samp(s), quantile_cont(s, [0.05, 0.25, 0.5, 0.75, "
      "0.95]), count(*) FILTER (s < 25), count(*) FILTER (s >= 25 AND s < 75), count(*) FILTER (s >= 75), min(d), "
      "max(d), histogram(CAST(least(floor(s / 5), 19) AS TINYINT)) FROM (SELECT " +
          kGroup + ".score AS s, " + kGroup + ".scoreDate AS d FROM " + source + ")",
      "SELECT f.factorName, count(*), avg(f.importance) FROM (SELECT unnest(" + kGroup +
          ".influentialFactors) AS f FROM " + source + ") GROUP BY 1 ORDER BY 3 DESC"};
}

std::string sourceOf(const fs::path& folder) {
  std::string list;
  for (const fs::path& path : filesIn(folder)) list += (list.empty() ? "" : ", ") + bench::sqlText(path.string());
  return "read_parquet([" + list + "], union_by_name = true)";
}

/// Each customer's primary identity and highest score.
std::string customersIn(const fs::path& folder) {
  return "(SELECT p.space AS space, p.id AS id, max(s) AS s FROM (SELECT list_filter(flatten(list_transform("
         "map_entries(identityMap), lambda e: list_transform(e.value, lambda v: {'space': e.key, 'id': v.id, 'first': "
         "v.\"primary\"}))), lambda t: t.first)[1] AS p, _tenant.customerAI.churn_q3.score AS s FROM " +
         sourceOf(folder) + ") GROUP BY 1, 2)";
}

/// Who was and is in which twentieth of the scores, how many rose and fell, and by how much.
std::string againstStatement(const fs::path& folder) {
  return "SELECT least(floor(b.s / 5), 19), least(floor(n.s / 5), 19), count(*), sum(b.s), sum(n.s), count(*) FILTER "
         "(n.s > b.s), count(*) FILTER (n.s < b.s) FROM " +
         customersIn(beforeOf(folder)) + " AS b FULL JOIN " + customersIn(folder) +
         " AS n ON b.space = n.space AND b.id = n.id GROUP BY 1, 2";
}

void runDuckDb(const std::string& what, const fs::path& folder, const std::string& out) {
  Connection connection;
  const std::string source = sourceOf(folder);
  bench::runSql(connection.handle, "SET TimeZone = 'UTC'");
  if (what == "scores") {
    for (const std::string& statement : scoreStatements(source)) bench::runSql(connection.handle, statement);
  } else if (what == "against") {
    bench::runSql(connection.handle, againstStatement(folder));
  } else if (what == "first") {
    bench::runSql(connection.handle,
                  "SELECT * FROM read_parquet(" + bench::sqlText((folder / "*.parquet").string()) + ") LIMIT 1");
  } else if (what != "jsonl") {
    const std::string limit = " LIMIT " + std::to_string(kSheetRows);
    const std::string select = what == "identity" ? identityStatement(source)
                               : what == "sheet"  ? kFlat + source + limit
                                                  : kFlat + source;
    bench::runSql(connection.handle, "COPY (" + select + ") TO " + bench::sqlText(out) +
                                         " (FORMAT csv, HEADER, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%gZ')");
  } else {
    bench::runSql(connection.handle,
                  "COPY (SELECT * FROM " + source + ") TO " + bench::sqlText(out) + " (FORMAT json)");
  }
}

double cpuSeconds(const rusage& usage) {
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> words(arguments + 1, arguments + count);
  try {
    const auto began = std::chrono::steady_clock::now();
    std::uint64_t rows = 0;
    if (words.size() == 4 && words[0] == "generate") {
      generate(words[1], std::stoull(words[2]), std::stoull(words[3]));
    } else if (words.size() == 4 && words[0] == "ours") {
      rows = runOurs(words[1], words[2], words[3]);
    } else if (words.size() == 4 && words[0] == "duckdb") {
      runDuckDb(words[1], words[2], words[3]);
    } else {
      std::cerr << "usage: generate DIR ROWS FILES | ours|duckdb WHAT DIR OUT\n";
      return 2;
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began;
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::cerr << elapsed.count() << ' ' << cpuSeconds(usage) << ' ' << usage.ru_maxrss << ' ' << rows << '\n';
    return 0;
  } catch (const std::exception& failure) {
    std::cerr << failure.what() << '\n';
    return 1;
  }
}
