/// The module's side of ScorePair.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "caiexport/core/error.h"
#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "profile_set.h"
#include "values.h"

namespace caiexport::reader {
namespace {

using core::Category;
using core::Error;

constexpr std::size_t kBins = 20;
constexpr std::int64_t kUnscored = 20;
constexpr std::int64_t kAbsent = 21;
const Blame kBlame{.what = "cannot compare the scores"};

constexpr std::array<const char*, 9> kGroupColumns{"bin_before",
                                                   "bin_now",
                                                   "count(*)",
                                                   "coalesce(sum(score_before), 0)",
                                                   "coalesce(sum(score_now), 0)",
                                                   "count(*) FILTER (score_now > score_before)",
                                                   "count(*) FILTER (score_now < score_before)",
                                                   "CAST(coalesce(sum(records_before), 0) AS BIGINT)",
                                                   "CAST(coalesce(sum(records_now), 0) AS BIGINT)"};

Standing standingOf(std::int64_t bin) {
  if (bin == kAbsent) return Standing::absent;
  if (bin == kUnscored) return Standing::unscored;
  return bin < 5 ? Standing::low : bin < 15 ? Standing::medium : Standing::high;
}

std::string binSql(const std::string& side) {
  return "CASE WHEN records_" + side + " IS NULL THEN 21 WHEN score_" + side +
         " IS NULL THEN 20 ELSE greatest(0, least(19, CAST(floor(score_" + side + " / 5) AS BIGINT))) END";
}

std::string standingSql(const std::string& side) {
  return "CASE WHEN records_" + side + " IS NULL THEN NULL WHEN score_" + side + " IS NULL THEN 'unscored' ELSE " +
         bucketSql("score_" + side) + " END";
}

/// Identities of the joined rows, by the bins of their scores before and now.
struct Group {
  std::int64_t before = 0;
  std::int64_t now = 0;
  std::uint64_t identities = 0;
  double sumBefore = 0;
  double sumNow = 0;
  std::uint64_t rose = 0;
  std::uint64_t fell = 0;
  std::uint64_t recordsBefore = 0;
  std::uint64_t recordsNow = 0;
};

std::vector<Group> groupsOf(Duck& duck, const Statement& statement, const std::stop_token& stop) {
  std::vector<Group> groups;
  forEachRow(duck, statement, kBlame, stop, [&groups](const ChunkView& view, std::uint64_t row) {
    const auto whole = [&](std::size_t column) { return view[column].at<std::int64_t>(row); };
    const auto count = [&](std::size_t column) { return static_cast<std::uint64_t>(whole(column)); };
    groups.push_back({.before = whole(0),
                      .now = whole(1),
                      .identities = count(2),
                      .sumBefore = view[3].at<double>(row),
                      .sumNow = view[4].at<double>(row),
                      .rose = count(5),
                      .fell = count(6),
                      .recordsBefore = count(7),
                      .recordsNow = count(8)});
  });
  return groups;
}

void addTo(ComparedSide& side, double& sum, std::int64_t bin, std::uint64_t identities, double scores,
           std::uint64_t records) {
  if (bin == kAbsent) return;
  side.identities += identities;
  side.repeated += records - identities;
  side.withoutIdentity -= records;
  if (bin == kUnscored) return;
  side.scored += identities;
  sum += scores;
  side.histogram[static_cast<std::size_t>(bin)] += identities;
}

std::optional<double> driftOf(const ComparedSide& before, const ComparedSide& now) {
  if (before.scored == 0 || now.scored == 0) return std::nullopt;
  // An empty bin would make the index infinite: it counts as half a customer.
  const auto share = [](const ComparedSide& side, std::size_t bin) {
    const double count = static_cast<double>(side.histogram[2 * bin] + side.histogram[2 * bin + 1]);
    return std::max(count, 0.5) / static_cast<double>(side.scored);
  };
  double index = 0;
  for (std::size_t bin = 0; bin < kBins / 2; ++bin) {
    index += (share(now, bin) - share(before, bin)) * std::log(share(now, bin) / share(before, bin));
  }
  return index;
}

Found scoreOf(ProfileSet& set, const std::string& field) {
  if (!field.empty()) return findColumn(set.columns(), field);
  const std::vector<Found> scores = scoreFields(set.columns());
  if (scores.size() == 1) return scores.front();
  if (scores.empty())
    throw Error(Category::notFound, "there is no score column to compare", {.hint = "name it with --field"});
  const std::string names = core::joined(scores, ", ", [](const Found& each) { return dotted(each.steps); });
  throw Error(Category::usage, "there are several score columns: " + core::printable(names),
              {.hint = "choose one with --field"});
}

class DuckScorePair final : public ScorePair {
 public:
  DuckScorePair(const ReaderSettings& settings, std::vector<InputFile> now, std::vector<InputFile> before)
      : settings_(settings), before_(settings, std::move(before)), now_(settings, std::move(now), before_.allowed()) {}

  Comparison compare(const PairQuery& query, std::stop_token stop) override {
    Comparison result{.identity = now_.identityName(query.identity)};
    result.before.field = dotted(scoreOf(before_, query.field).steps);
    result.now.field = dotted(scoreOf(now_, query.field).steps);
    result.before.records = result.before.withoutIdentity = before_.rowCount();
    result.now.records = result.now.withoutIdentity = now_.rowCount();
    double sumBefore = 0;
    double sumNow = 0;
    double change = 0;
    for (const Group& group : allGroups(query, stop)) {
      if (group.before == kAbsent && group.now == kAbsent) continue;  // Rows without an identity.
      result
          .moved[static_cast<std::size_t>(standingOf(group.before))][static_cast<std::size_t>(standingOf(group.now))] +=
          group.identities;
      addTo(result.before, sumBefore, group.before, group.identities, group.sumBefore, group.recordsBefore);
      addTo(result.now, sumNow, group.now, group.identities, group.sumNow, group.recordsNow);
      result.rose += group.rose;
      result.fell += group.fell;
      if (group.before >= kUnscored || group.now >= kUnscored) continue;
      result.both += group.identities;
      change += group.sumNow - group.sumBefore;
    }
    if (result.before.scored > 0) result.before.mean = sumBefore / static_cast<double>(result.before.scored);
    if (result.now.scored > 0) result.now.mean = sumNow / static_cast<double>(result.now.scored);
    if (result.both > 0) result.meanChange = change / static_cast<double>(result.both);
    result.drift = driftOf(result.before, result.now);
    return result;
  }

  std::uint64_t rows(const PairQuery& query, RowFormat format, Output& output, std::stop_token stop) override {
    const InterruptOnStop interrupt(stop, now_.duck());
    return writeLines(now_.duck(), movedRows(query), kBlame, format, output, settings_.threads, {}, stop);
  }

  SheetFacts writeSheet(const PairQuery& query, const std::filesystem::path& path, std::stop_token stop) override {
    const InterruptOnStop interrupt(stop, now_.duck());
    return writeSheetRows(now_.duck(), movedRows(query), kBlame, path, before_.rowCount() + now_.rowCount(), {}, stop);
  }

 private:
  /// Of the identities those whose hash says so: what the memory does not suffice for is joined in parts.
  struct Part {
    std::uint64_t number = 0;
    std::uint64_t of = 1;
  };
  /// SQL of one row an identity: ns, id, score, records (null for rows without an identity).
  std::string sideSql(ProfileSet& set, const PairQuery& query, const Part& part) const {
    const Found score = scoreOf(set, query.field);
    if (!score.type->isNumeric()) {
      throw Error(Category::usage, "`" + core::printable(dotted(score.steps)) + "` is not numeric");
    }
    const std::string value = "CAST(" + set.sqlOf(score.steps) + " AS DOUBLE)";
    const std::string mine =
        part.of == 1 ? "" : " WHERE hash(id) % " + std::to_string(part.of) + " = " + std::to_string(part.number);
    // NaN is no score, but max() would take it for the highest. Who has no id is left in, without records: a condition
    // on the id would have DuckDB find out each id twice.
    const std::string people =
        set.peopleSql(query.identity, "CASE WHEN isfinite(" + value + ") THEN " + value + " END");
    return "SELECT ns, id, max(score) AS score, CASE WHEN id IS NOT NULL THEN count(*) END AS records FROM (" + people +
           ")" + mine + " GROUP BY ns, id";
  }

  std::string joinSql(const PairQuery& query, const Part& part) {
    return "SELECT coalesce(b.ns, n.ns) AS ns, coalesce(b.id, n.id) AS id, b.score AS score_before, n.score AS "
           "score_now, "
           "b.records AS records_before, n.records AS records_now FROM (" +
           sideSql(before_, query, part) + ") AS b FULL JOIN (" + sideSql(now_, query, part) +
           ") AS n ON b.id = n.id AND b.ns = n.ns";
  }

  std::vector<Group> groups(const PairQuery& query, const Part& part, const std::stop_token& stop) {
    std::string columns;
    for (const char* column : kGroupColumns) columns += (columns.empty() ? "" : ", ") + std::string(column);
    const RowSource source = now_.prepareOwn("SELECT " + columns + " FROM (SELECT *, " + binSql("before") +
                                             " AS bin_before, " + binSql("now") + " AS bin_now FROM (" +
                                             joinSql(query, part) + ")) GROUP BY bin_before, bin_now ORDER BY 1, 2");
    return groupsOf(now_.duck(), source.statement, stop);
  }

  /// DuckDB puts much of a join on disk, but not all: where its memory does not suffice, a part of the identities is
  /// taken at a time, for which the files are read that many times.
  std::vector<Group> allGroups(const PairQuery& query, const std::stop_token& stop) {
    constexpr std::uint64_t kMostParts = 64;
    for (std::uint64_t parts = 1;; parts *= 4) {
      try {
        std::vector<Group> all;
        for (std::uint64_t number = 0; number < parts; ++number) {
          const std::vector<Group> some = groups(query, {.number = number, .of = parts}, stop);
          all.insert(all.end(), some.begin(), some.end());
        }
        return all;
      } catch (const Error& error) {
        if (!core::isOutOfMemory(error) || parts == kMostParts) throw;
      }
    }
  }

  RowSource movedRows(const PairQuery& query) {
    return now_.prepareOwn(
        "SELECT ns AS namespace, id, score_before, score_now, round(score_now - score_before, 6) AS change, "
        "bucket_before, "
        "bucket_now, "
        "CASE WHEN bucket_before IS NULL THEN 'new' WHEN bucket_now IS NULL THEN 'gone' ELSE bucket_before || ' to ' "
        "|| "
        "bucket_now END AS moved FROM (SELECT *, " +
        standingSql("before") + " AS bucket_before, " + standingSql("now") + " AS bucket_now FROM (" +
        joinSql(query, {}) + ")) WHERE bucket_before IS DISTINCT FROM bucket_now ORDER BY moved, ns, id");
  }

  ReaderSettings settings_;
  ProfileSet before_;
  ProfileSet now_;  ///< Its database sees the files of both.
};

}  // namespace

std::unique_ptr<ScorePair> openScorePair(const ReaderSettings& settings, std::vector<InputFile> now,
                                         std::vector<InputFile> before) {
  return std::make_unique<DuckScorePair>(settings, std::move(now), std::move(before));
}

}  // namespace caiexport::reader
