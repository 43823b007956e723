#include "profile_set.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <span>
#include <string_view>
#include <thread>
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

/// Finite numbers in their order, as far as the highest bits of each tell it: those of one bucket are near each other.
class Buckets {
 public:
  static constexpr std::size_t kCount = std::size_t{1} << 16U;

  static std::size_t of(double value) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    constexpr std::uint64_t kSign = std::uint64_t{1} << 63U;
    // The bits of numbers below zero rise as the numbers fall.
    return ((bits & kSign) != 0 ? ~bits : bits | kSign) >> 48U;
  }

  void add(double value) { ++counts_[of(value)]; }
  void add(const Buckets& others) {
    for (std::size_t bucket = 0; bucket < kCount; ++bucket) counts_[bucket] += others.counts_[bucket];
  }
  std::uint64_t operator[](std::size_t bucket) const { return counts_[bucket]; }

 private:
  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(kCount);
};

/// What one worker has counted.
struct Tally {
  std::uint64_t records = 0;
  std::int64_t firstDate = std::numeric_limits<std::int64_t>::max();
  std::int64_t lastDate = std::numeric_limits<std::int64_t>::min();
  double least = std::numeric_limits<double>::infinity();
  double most = -std::numeric_limits<double>::infinity();
  long double sum = 0;
  std::uint64_t medium = 0;
  std::uint64_t high = 0;
  std::uint64_t outside = 0;
  std::array<std::uint64_t, ScoreSummary::kBins> histogram{};
  Buckets buckets = {};

  void add(double score) {
    least = std::min(least, score);
    most = std::max(most, score);
    sum += score;
    // Without branches, which would be guessed wrong for one score in three.
    medium += static_cast<std::uint64_t>(score >= kLowEnd) & static_cast<std::uint64_t>(score < kHighBegin);
    high += static_cast<std::uint64_t>(score >= kHighBegin);
    buckets.add(score);
    if (score < 0 || score > kTop) {
      ++outside;
      return;
    }
    const auto bin = static_cast<std::size_t>(score / ScoreSummary::kBinWidth);
    ++histogram[std::min(bin, ScoreSummary::kBins - 1)];
  }

  void add(const Tally& part) {
    records += part.records;
    firstDate = std::min(firstDate, part.firstDate);
    lastDate = std::max(lastDate, part.lastDate);
    least = std::min(least, part.least);
    most = std::max(most, part.most);
    sum += part.sum;
    medium += part.medium;
    high += part.high;
    outside += part.outside;
    for (std::size_t bin = 0; bin < histogram.size(); ++bin) histogram[bin] += part.histogram[bin];
    buckets.add(part.buckets);
  }
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
    tally_.add(score);
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

/// Runs `work(number, stretch)` for a stretch of the values a thread.
template <class Work>
void inStretches(std::span<double> values, std::size_t stretches, Work work) {
  std::vector<std::jthread> threads;
  for (std::size_t number = 0; number < stretches; ++number) {
    const std::size_t from = values.size() * number / stretches;
    const std::span<double> stretch = values.subspan(from, values.size() * (number + 1) / stretches - from);
    if (number + 1 < stretches) {
      threads.emplace_back([work, number, stretch] { work(number, stretch); });
    } else {
      work(number, stretch);
    }
  }
}

/// Where among the values in their order a share of them ends, as quantile_cont has it: between the neighbours of
/// (n - 1) * share.
struct Place {
  Place(std::uint64_t count, double share) {
    const double position = static_cast<double>(count - 1) * share;
    below = static_cast<std::uint64_t>(std::floor(position));
    fraction = position - static_cast<double>(below);
  }
  std::uint64_t below;
  double fraction;
};

/// The values that quantiles are made of lie in a few buckets; those of the others need only be counted.
class Quantiles {
 public:
  Quantiles(const Buckets& buckets, std::uint64_t count) : wanted_(Buckets::kCount), skipped_(kShares.size()) {
    std::uint64_t before = 0;
    std::uint64_t skipped = 0;
    for (std::size_t bucket = 0; bucket < Buckets::kCount; ++bucket) {
      const std::uint64_t end = before + buckets[bucket];
      for (std::size_t index = 0; index < kShares.size(); ++index) {
        const std::uint64_t below = Place(count, kShares[index]).below;
        const std::uint64_t above = std::min(below + 1, count - 1);
        const bool holds = (below >= before && below < end) || (above >= before && above < end);
        if (holds) wanted_[bucket] = 1;
        if (below >= before && below < end) skipped_[index] = skipped;
      }
      if (wanted_[bucket] == 0) skipped += buckets[bucket];
      before = end;
    }
  }

  bool wants(double value) const { return wanted_[Buckets::of(value)] != 0; }

  /// `values`: all that are wanted. Rising shares: each leaves only the values above it for the next.
  void set(std::span<double> values, std::uint64_t count, ScoreSummary& summary) const {
    const std::array<std::optional<double>*, kShares.size()> figures{&summary.p05, &summary.p25, &summary.p50,
                                                                     &summary.p75, &summary.p95};
    auto sorted = values.begin();
    for (std::size_t index = 0; index < kShares.size(); ++index) {
      const Place place(count, kShares[index]);
      const auto at = values.begin() + static_cast<std::ptrdiff_t>(place.below - skipped_[index]);
      std::nth_element(sorted, at, values.end());
      const double above = at + 1 == values.end() ? *at : *std::min_element(at + 1, values.end());
      *figures[index] = *at + (above - *at) * place.fraction;
      sorted = at;
    }
  }

 private:
  static constexpr std::array<double, 5> kShares{0.05, 0.25, 0.50, 0.75, 0.95};

  std::vector<std::uint8_t> wanted_;    ///< By bucket.
  std::vector<std::uint64_t> skipped_;  ///< By share: values below it that are not wanted.
};

/// Mean, deviation and quantiles. A second pass: the sum of squares alone would lose the digits that matter. The values
/// are left in disorder.
void setFigures(std::span<double> values, const Tally& tally, unsigned threads, ScoreSummary& summary) {
  constexpr std::size_t kWorthAThread = 100'000;
  const std::size_t stretches = std::clamp<std::size_t>(values.size() / kWorthAThread, 1, threads);
  const double mean = static_cast<double>(tally.sum / static_cast<long double>(values.size()));
  const Quantiles quantiles(tally.buckets, values.size());
  std::vector<long double> squares(stretches);  // long, so that the result does not depend on their number
  std::vector<std::span<double>> wanted(stretches);
  inStretches(values, stretches, [&](std::size_t number, std::span<double> stretch) {
    long double sum = 0;
    // Those that are wanted move to the front: they may be all, and memory for as many more is not taken.
    std::size_t kept = 0;
    for (const double value : stretch) {
      sum += (value - mean) * (value - mean);
      stretch[kept] = value;
      kept += quantiles.wants(value) ? 1 : 0;
    }
    squares[number] = sum;
    wanted[number] = stretch.first(kept);
  });
  auto end = values.begin();
  for (const std::span<double> part : wanted) end = std::copy(part.begin(), part.end(), end);
  quantiles.set({values.begin(), end}, values.size(), summary);
  summary.mean = mean;
  if (values.size() < 2) return;
  const long double sum = std::accumulate(squares.begin(), squares.end(), 0.0L);
  summary.stddev = std::sqrt(static_cast<double>(sum / static_cast<long double>(values.size() - 1)));
}

void setCounts(const Tally& tally, ScoreSummary& summary) {
  summary.min = tally.least;
  summary.max = tally.most;
  summary.low = summary.scored - tally.medium - tally.high;
  summary.medium = tally.medium;
  summary.high = tally.high;
  summary.outside = tally.outside;
  summary.histogram = tally.histogram;
}

std::optional<core::TimePoint> timeFromMicros(std::int64_t micros) {
  return std::chrono::time_point_cast<core::Duration>(
      std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(micros)));
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

/// All but the factors, which are read when the memory for this is free again.
ScoreSummary countNumbers(ProfileSet& set, const Found& score, const Companions& companions,
                          const ReaderSettings& settings, const std::stop_token& stop) {
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

  Tally tally;
  for (const auto& worker : workers) tally.add(static_cast<const ScoreWork&>(*worker).tally());
  const std::span<double> values = store.all();
  ScoreSummary summary{.field = dotted(score.steps), .records = tally.records, .scored = values.size()};
  summary.unscored = summary.records - summary.scored;
  if (!values.empty()) {
    setCounts(tally, summary);
    setFigures(values, tally, settings.threads, summary);
  }
  if (tally.firstDate <= tally.lastDate) {
    summary.scoreDateFrom = timeFromMicros(tally.firstDate);
    summary.scoreDateTo = timeFromMicros(tally.lastDate);
  }
  return summary;
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
  ScoreSummary summary = countNumbers(set, score, companions, settings, stop);
  summary.factors = factorsIn(set, score.steps, companions, {.scoredOnly = summary.unscored > 0}, stop);
  return summary;
}

}  // namespace caiexport::reader
