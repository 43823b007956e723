#include "profile_set.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"

namespace caiexport::reader {
namespace {

using core::Category;
using core::Error;

constexpr std::size_t kMostFactorsShown = 10;
constexpr double kLowEnd = 25;
constexpr double kHighBegin = 75;
constexpr double kTop = 100;

/// The fields that stand beside the score; `type` is null for what there is not.
struct Companions {
  Found date = {};
  Found factors = {};
};

bool contains(const std::string& name, std::string_view part) {
  return core::toLower(name).find(part) != std::string::npos;
}

const Type* bestOf(const std::vector<const Type*>& candidates, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) {
    for (const Type* candidate : candidates) {
      if (contains(candidate->name, part)) return candidate;
    }
  }
  return nullptr;
}

const Type* scoreDateOf(const std::vector<Type>& group) {
  std::vector<const Type*> times;
  for (const Type& field : group) {
    if (field.isTime() && contains(field.name, "scor")) times.push_back(&field);
  }
  return bestOf(times, {"scoredate", "date", "time", "scor"});
}

bool isFactorList(const Type& field) {
  if (field.id != DUCKDB_TYPE_LIST) return false;
  const Type& entry = field.children[0];
  if (entry.id == DUCKDB_TYPE_VARCHAR) return contains(field.name, "factor");
  return entry.isStruct() && std::any_of(entry.children.begin(), entry.children.end(),
                                         [](const Type& child) { return child.id == DUCKDB_TYPE_VARCHAR; });
}

const Type* factorsOf(const std::vector<Type>& group) {
  std::vector<const Type*> lists;
  for (const Type& field : group) {
    if (isFactorList(field)) lists.push_back(&field);
  }
  const Type* named = bestOf(lists, {"influential", "factor", "influence", "reason"});
  if (named != nullptr) return named;
  return lists.empty() ? nullptr : lists.front();
}

/// The fields of the group that `steps` points into.
const std::vector<Type>& siblingsOf(const std::vector<Type>& columns, const std::vector<std::string>& steps) {
  const std::vector<Type>* level = &columns;
  for (std::size_t depth = 0; depth + 1 < steps.size(); ++depth) {
    const auto field =
        std::find_if(level->begin(), level->end(), [&](const Type& each) { return each.name == steps[depth]; });
    level = &field->children;
  }
  return *level;
}

Found fieldBeside(const Type* field, const std::vector<std::string>& score) {
  if (field == nullptr) return {};
  Found found{.steps = std::vector<std::string>(score.begin(), score.end() - 1), .type = field};
  found.steps.push_back(field->name);
  return found;
}

Companions companionsOf(const std::vector<Type>& columns, const std::vector<std::string>& score) {
  const std::vector<Type>& group = siblingsOf(columns, score);
  const Type* factors = factorsOf(group);
  // Flat files have the score beside everything else: there, only what is called so belongs to it.
  const bool belongs = factors != nullptr && (score.size() > 1 || contains(factors->name, "factor"));
  return {.date = fieldBeside(scoreDateOf(group), score), .factors = fieldBeside(belongs ? factors : nullptr, score)};
}

/// SQL over `f`, one entry of the list of factors.
struct FactorSql {
  std::string name;
  std::string importance = {};  ///< Empty: there is none.
  bool inWords = false;         ///< The importance is low, medium or high.
};

FactorSql factorSql(const Type& entry, const ColumnNames& names) {
  if (!entry.isStruct()) return {.name = "f"};
  std::vector<const Type*> texts;
  const Type* importance = nullptr;
  for (const Type& child : entry.children) {
    const bool isText = child.id == DUCKDB_TYPE_VARCHAR;
    if (contains(child.name, "importance") && (child.isNumeric() || isText)) {
      importance = &child;
    } else if (isText) {
      texts.push_back(&child);
    }
  }
  const Type* name = bestOf(texts, {"name", "code", "factor", "feature", "attribute"});
  if (name == nullptr) name = texts.empty() ? importance : texts.front();
  if (name == nullptr) return {.name = "NULL"};
  const auto field = [&names](const Type& child) {
    return "struct_extract(f, " + sqlText(names.sqlOf(child.name)) + ")";
  };
  FactorSql sql{.name = field(*name)};
  if (importance != nullptr && importance != name) {
    sql.importance = field(*importance);
    sql.inWords = !importance->isNumeric();
  }
  return sql;
}

/// What one worker has counted.
struct Tally {
  std::uint64_t records = 0;
  std::int64_t firstDate = std::numeric_limits<std::int64_t>::max();
  std::int64_t lastDate = std::numeric_limits<std::int64_t>::min();
};

/// All scores; each worker takes a stretch of its own.
class ScoreStore {
 public:
  explicit ScoreStore(std::uint64_t most) : most_(most), scores_(new double[most == 0 ? 1 : most]) {}

  void add(const std::vector<double>& scores) {
    if (scores.empty()) return;
    const std::uint64_t from = used_.fetch_add(scores.size());
    if (from + scores.size() > most_) {
      throw Error(Category::verification, "the files hold more rows than their footers say");
    }
    std::copy(scores.begin(), scores.end(), scores_.get() + from);
  }

  std::span<double> all() { return {scores_.get(), used_.load()}; }

 private:
  std::uint64_t most_;
  // Not a vector: its memory is touched as it fills, by the threads that fill it.
  std::unique_ptr<double[]> scores_;
  std::atomic<std::uint64_t> used_ = 0;
};

/// Columns of the statement: the score, then its date where there is one.
class ScoreWork final : public ChunkWork {
 public:
  ScoreWork(const std::vector<Type>& columns, ScoreStore& store) : store_(store), view_(columns) {}

  void prepare(duckdb_data_chunk chunk, std::uint64_t rows) override {
    view_.bind(chunk);
    scores_.clear();
    for (std::uint64_t row = 0; row < rows; ++row) countRow(row);
    tally_.records += rows;
    store_.add(scores_);
  }

  const Tally& tally() const { return tally_; }

 private:
  void countRow(std::uint64_t row) {
    if (view_[0].isNull(row)) return;
    const double score = view_[0].at<double>(row);
    if (!std::isfinite(score)) return;
    scores_.push_back(score);
    if (view_.columns.size() == 1 || view_[1].isNull(row)) return;
    const auto micros = view_[1].at<std::int64_t>(row);
    tally_.firstDate = std::min(tally_.firstDate, micros);
    tally_.lastDate = std::max(tally_.lastDate, micros);
  }

  ScoreStore& store_;
  ChunkView view_;
  std::vector<double> scores_;
  Tally tally_;
};

std::string scoresSql(const ProfileSet& set, const std::vector<std::string>& score, const Companions& companions) {
  std::string sql = "SELECT CAST(" + set.sqlOf(score) + " AS DOUBLE)";
  if (companions.date.type != nullptr) {
    // A cast between times with and without zone asks the calendar of ICU: four times the cost of all the rest.
    const std::string date = set.sqlOf(companions.date.steps);
    sql += companions.date.type->id == DUCKDB_TYPE_TIMESTAMP_TZ ? ", epoch_us(" + date + ")"
                                                                : ", epoch_us(CAST(" + date + " AS TIMESTAMP))";
  }
  return sql + " FROM " + set.source();
}

/// Which rows and values the factors are counted over. Conditions that change nothing are left out: each costs a tenth
/// of the time.
struct FactorScope {
  bool scoredOnly = false;
  bool finiteOnly = false;
  std::string bucket = {};  ///< `low`, `medium` or `high`; empty for all.
};

/// SQL of the columns: name, mentions, sum of importances, how many are in it, then high, medium, low; the weightiest
/// first, the one without a name among them: a condition here would be applied to each mention. Left to DuckDB, since
/// names stay compressed in the files' dictionaries until they are grouped.
std::string factorsSql(const ProfileSet& set, const std::vector<std::string>& score, const Companions& companions,
                       const FactorScope& scope) {
  const FactorSql factor = factorSql(companions.factors.type->children[0], set.names());
  const std::string list = set.sqlOf(companions.factors.steps);
  std::string figures = "CAST(NULL AS DOUBLE) AS total, CAST(0 AS BIGINT) AS weighed";
  std::string levels = "CAST(0 AS BIGINT) AS high, CAST(0 AS BIGINT) AS medium, CAST(0 AS BIGINT) AS low";
  // Words count three, two, one; without any importance the mentions decide.
  std::string weight = "mentions";
  if (factor.inWords) {
    const std::string word = "lower(" + factor.importance + ")";
    const auto level = [&word](const std::string& name) {
      return "count(*) FILTER (" + word + " = '" + name + "') AS " + name;
    };
    levels = level("high") + ", " + level("medium") + ", " + level("low");
    weight = "3 * high + 2 * medium + low";
  } else if (!factor.importance.empty()) {
    const std::string number = "CAST(" + factor.importance + " AS DOUBLE)";
    const std::string filter = scope.finiteOnly ? " FILTER (isfinite(" + number + "))" : "";
    figures = "sum(" + number + ")" + filter + " AS total, count(" + number + ")" + filter + " AS weighed";
    weight = "coalesce(total, 0)";
  }
  const std::string value = "CAST(" + set.sqlOf(score) + " AS DOUBLE)";
  std::string condition = scope.scoredOnly ? " WHERE isfinite(" + value + ")" : "";
  if (!scope.bucket.empty())
    condition = " WHERE isfinite(" + value + ") AND " + bucketSql(value) + " = " + sqlText(scope.bucket);
  return "SELECT name, mentions, total, weighed, high, medium, low FROM (SELECT " + factor.name +
         " AS name, count(*) AS mentions, " + figures + ", " + levels + " FROM (SELECT unnest(" + list +
         ") AS f FROM " + set.source() + condition + ") GROUP BY 1) ORDER BY " + weight + " DESC, name LIMIT " +
         std::to_string(kMostFactorsShown + 1);
}

std::vector<InfluentialFactor> readFactors(ProfileSet& set, const std::string& sql, const std::stop_token& stop) {
  const RowSource source = set.prepareOwn(sql);
  std::vector<InfluentialFactor> factors;
  forEachRow(set.duck(), source.statement, {.what = "cannot read the influential factors"}, stop,
             [&factors](const ChunkView& view, std::uint64_t row) {
               if (view[0].isNull(row) || factors.size() == kMostFactorsShown) return;
               const auto count = [&](std::size_t column) {
                 return static_cast<std::uint64_t>(view[column].at<std::int64_t>(row));
               };
               InfluentialFactor factor{.name = std::string(view[0].text(row)),
                                        .count = count(1),
                                        .high = count(4),
                                        .medium = count(5),
                                        .low = count(6)};
               const std::uint64_t weighed = count(3);
               if (weighed > 0) factor.meanImportance = view[2].at<double>(row) / static_cast<double>(weighed);
               factors.push_back(std::move(factor));
             });
  return factors;
}

std::vector<InfluentialFactor> factorsIn(ProfileSet& set, const std::vector<std::string>& score,
                                         const Companions& companions, FactorScope scope, const std::stop_token& stop) {
  if (companions.factors.type == nullptr) return {};
  std::vector<InfluentialFactor> factors = readFactors(set, factorsSql(set, score, companions, scope), stop);
  const bool allFinite = std::all_of(factors.begin(), factors.end(), [](const InfluentialFactor& each) {
    return !each.meanImportance || std::isfinite(*each.meanImportance);
  });
  if (allFinite) return factors;
  scope.finiteOnly = true;
  return readFactors(set, factorsSql(set, score, companions, scope), stop);
}

/// The different values of a field beside the score, at most a few.
std::vector<std::string> valuesBeside(ProfileSet& set, const std::vector<std::string>& score, const std::string& name) {
  for (const Type& field : siblingsOf(set.columns(), score)) {
    const bool scalar = field.id == DUCKDB_TYPE_VARCHAR || field.isNumeric();
    if (!scalar || core::toLower(field.name) != name) continue;
    return set.duck().texts("SELECT DISTINCT CAST(" + set.sqlOf(fieldBeside(&field, score).steps) +
                                " AS VARCHAR) AS v FROM " + set.source() + " WHERE v IS NOT NULL ORDER BY v LIMIT 5",
                            {.what = "cannot read the scores"});
  }
  return {};
}

/// As quantile_cont: between the neighbours at (n - 1) * share. Puts the values partly in order, from `sorted` on:
/// those before are none greater. Returns the quantile and the new `sorted`.
std::pair<double, std::size_t> quantile(std::span<double> values, std::size_t sorted, double share) {
  const double position = static_cast<double>(values.size() - 1) * share;
  const auto below = static_cast<std::size_t>(std::floor(position));
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin() + static_cast<std::ptrdiff_t>(sorted), at, values.end());
  if (below + 1 == values.size()) return {*at, below};
  const double above = *std::min_element(at + 1, values.end());
  return {*at + (above - *at) * (position - static_cast<double>(below)), below};
}

/// Rising shares: each leaves only the values above it for the next.
void setQuantiles(std::span<double> values, ScoreSummary& summary) {
  const std::array<std::pair<double, std::optional<double>*>, 5> wanted{
      {{0.05, &summary.p05}, {0.25, &summary.p25}, {0.50, &summary.p50}, {0.75, &summary.p75}, {0.95, &summary.p95}}};
  std::size_t sorted = 0;
  for (const auto& [share, figure] : wanted) {
    const auto [value, next] = quantile(values, sorted, share);
    *figure = value;
    sorted = next;
  }
}

/// Two passes: the sum of squares alone would lose the digits that matter.
void setMoments(std::span<const double> values, ScoreSummary& summary) {
  long double sum = 0;
  for (const double value : values) sum += value;
  const double mean = static_cast<double>(sum / static_cast<long double>(values.size()));
  summary.mean = mean;
  if (values.size() < 2) return;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  summary.stddev = std::sqrt(squares / static_cast<double>(values.size() - 1));
}

void setCounts(std::span<const double> values, ScoreSummary& summary) {
  for (const double value : values) {
    ++(value < kLowEnd ? summary.low : value < kHighBegin ? summary.medium : summary.high);
    if (value < 0 || value > kTop) {
      ++summary.outside;
      continue;
    }
    const auto bin = static_cast<std::size_t>(value / ScoreSummary::kBinWidth);
    ++summary.histogram[std::min(bin, ScoreSummary::kBins - 1)];
  }
}

std::optional<core::TimePoint> timeFromMicros(std::int64_t micros) {
  return std::chrono::time_point_cast<core::Duration>(
      std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(micros)));
}

Tally mergedTally(const std::vector<std::unique_ptr<ChunkWork>>& workers) {
  Tally whole;
  for (const auto& worker : workers) {
    const Tally& part = static_cast<const ScoreWork&>(*worker).tally();
    whole.records += part.records;
    whole.firstDate = std::min(whole.firstDate, part.firstDate);
    whole.lastDate = std::max(whole.lastDate, part.lastDate);
  }
  return whole;
}

Found findScore(const std::vector<Type>& columns, const std::string& field) {
  Found found = findColumn(columns, field);
  if (!found.type->isNumeric()) {
    throw Error(Category::usage, "`" + core::printable(dotted(found.steps)) + "` is not numeric but " +
                                     found.type->describe().substr(0, 200));
  }
  return found;
}

void checkMemory(std::uint64_t rows, std::uint64_t memoryBytes) {
  if (rows <= memoryBytes / sizeof(double)) return;
  throw core::outOfMemory("the percentiles of " + std::to_string(rows) + " scores need " +
                          core::formatBytes(rows * sizeof(double)) + " of memory");
}

}  // namespace

std::string bucketSql(const std::string& value) {
  return "CASE WHEN " + value + " < 25 THEN 'low' WHEN " + value + " < 75 THEN 'medium' ELSE 'high' END";
}

std::vector<Found> scoreFields(const std::vector<Type>& columns) {
  std::vector<Found> scores;
  for (Found& field : allFields(columns)) {
    if (field.type->isNumeric() && core::toLower(field.steps.back()) == "score") scores.push_back(std::move(field));
  }
  return scores;
}

Found percentileBeside(const std::vector<Type>& columns, const std::vector<std::string>& score) {
  for (const Type& field : siblingsOf(columns, score)) {
    if (field.isNumeric() && core::toLower(field.name) == "percentile") return fieldBeside(&field, score);
  }
  return {};
}

Found dateBeside(const std::vector<Type>& columns, const std::vector<std::string>& score) {
  return fieldBeside(scoreDateOf(siblingsOf(columns, score)), score);
}

ScoreStory tellStory(ProfileSet& set, const std::string& field, const std::stop_token& stop) {
  const InterruptOnStop interrupt(stop, set.duck());
  const Found score = findScore(set.columns(), field);
  const Companions companions = companionsOf(set.columns(), score.steps);
  ScoreStory story{.propensity = valuesBeside(set, score.steps, "propensitytype"),
                   .modelVersions = valuesBeside(set, score.steps, "modelversion")};
  const std::array<std::string, 3> buckets{"low", "medium", "high"};
  for (std::size_t bucket = 0; bucket < buckets.size(); ++bucket) {
    story.factors[bucket] = factorsIn(set, score.steps, companions, {.bucket = buckets[bucket]}, stop);
  }
  return story;
}

ScoreSummary countScores(ProfileSet& set, const std::string& field, const ReaderSettings& settings,
                         std::stop_token stop) {
  const Found score = findScore(set.columns(), field);
  const Companions companions = companionsOf(set.columns(), score.steps);
  const RowSource source = set.prepareOwn(scoresSql(set, score.steps, companions));

  const std::uint64_t rows = set.rowCount();
  checkMemory(rows, settings.memoryBytes);
  ScoreStore store(rows);
  std::vector<std::unique_ptr<ChunkWork>> workers;
  for (unsigned index = 0; index < settings.threads; ++index) {
    workers.push_back(std::make_unique<ScoreWork>(source.columns, store));
  }
  {
    const InterruptOnStop interrupt(stop, set.duck());
    Rows stream(set.duck(), source.statement, {.what = "cannot read the scores"}, stop);
    processRows(stream, std::numeric_limits<std::uint64_t>::max(), workers, stop);
  }

  const Tally tally = mergedTally(workers);
  const std::span<double> values = store.all();
  ScoreSummary summary{.field = dotted(score.steps), .records = tally.records, .scored = values.size()};
  summary.unscored = summary.records - summary.scored;
  if (!values.empty()) {
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    summary.min = *least;
    summary.max = *most;
    setMoments(values, summary);
    setCounts(values, summary);
    setQuantiles(values, summary);
  }
  if (tally.firstDate <= tally.lastDate) {
    summary.scoreDateFrom = timeFromMicros(tally.firstDate);
    summary.scoreDateTo = timeFromMicros(tally.lastDate);
  }
  summary.factors = factorsIn(set, score.steps, companions, {.scoredOnly = summary.unscored > 0}, stop);
  return summary;
}

}  // namespace caiexport::reader
