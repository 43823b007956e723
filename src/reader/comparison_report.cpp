#include "caiexport/reader/score_report.h"

#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "caiexport/core/text.h"
#include "caiexport/json/writer.h"
#include "caiexport/reader/table.h"
#include "report_text.h"

namespace caiexport::reader {
namespace {

constexpr auto kLow = static_cast<std::size_t>(Standing::low);
constexpr auto kAbsent = static_cast<std::size_t>(Standing::absent);

std::uint64_t bucketOf(const Comparison& comparison, std::size_t standing, bool now) {
  std::uint64_t count = 0;
  for (std::size_t other = 0; other < kStandings; ++other) {
    count += now ? comparison.moved[other][standing] : comparison.moved[standing][other];
  }
  return count;
}

std::string signedCount(std::uint64_t before, std::uint64_t now) {
  if (before == now) return "0";
  return now > before ? "+" + grouped(now - before) : "-" + grouped(before - now);
}

std::string signedNumber(double value) {
  return (value < 0 ? "" : "+") + fixed(value, 2);
}

void addCount(Table& table, const std::string& name, std::uint64_t before, std::uint64_t now) {
  table.rows.push_back({name, grouped(before), grouped(now), signedCount(before, now)});
}

std::string figures(const Comparison& comparison, std::size_t width) {
  Table table{.columns = {{"", "", false}, {"before", "", true}, {"now", "", true}, {"change", "", true}}};
  const ComparedSide& before = comparison.before;
  const ComparedSide& now = comparison.now;
  addCount(table, "rows", before.records, now.records);
  addCount(table, "identities", before.identities, now.identities);
  if (before.repeated + now.repeated > 0) addCount(table, "  repeated rows", before.repeated, now.repeated);
  if (before.withoutIdentity + now.withoutIdentity > 0) {
    addCount(table, "  rows without identity", before.withoutIdentity, now.withoutIdentity);
  }
  const bool means = before.mean && now.mean;
  table.rows.push_back(
      {"mean score", shown(before.mean), shown(now.mean), means ? signedNumber(*now.mean - *before.mean) : "-"});
  for (std::size_t standing = kLow; standing < kAbsent; ++standing) {
    const std::uint64_t then = bucketOf(comparison, standing, false);
    const std::uint64_t today = bucketOf(comparison, standing, true);
    if (standing < kAbsent - 1 || then + today > 0) addCount(table, kStandingNames[standing], then, today);
  }
  return renderTable(table, width);
}

std::string matrix(const Comparison& comparison, std::size_t width) {
  Table table{.columns = {{"before \\ now", "", false}}};
  for (std::size_t now = 0; now < kStandings; ++now) {
    table.columns.push_back({now == kAbsent ? "gone" : kStandingNames[now], "", true});
  }
  for (std::size_t before = 0; before < kStandings; ++before) {
    std::vector<std::string> row{before == kAbsent ? "new" : kStandingNames[before]};
    for (std::size_t now = 0; now < kStandings; ++now) {
      row.push_back(before == kAbsent && now == kAbsent ? "" : grouped(comparison.moved[before][now]));
    }
    table.rows.push_back(std::move(row));
  }
  return renderTable(table, width);
}

std::string nameOf(const SourceFacts& facts) {
  std::string name = facts.source;
  if (facts.batches.size() == 1 && name.find(facts.batches.front()) == name.npos)
    name += (name.empty() ? "" : ", ") + std::string("batch ") + facts.batches.front();
  return core::printable(name);
}

void writeSide(json::Writer& json, const Comparison& comparison, bool isNow, const SourceFacts& facts) {
  const ComparedSide& side = isNow ? comparison.now : comparison.before;
  json.beginObject();
  json.key("source").value(facts.source);
  writeBatches(json, facts);
  json.key("field").value(side.field);
  json.key("records").value(side.records);
  json.key("identities").value(side.identities);
  json.key("repeated").value(side.repeated);
  json.key("without_identity").value(side.withoutIdentity);
  json.key("scored").value(side.scored);
  json.key("mean").value(side.mean);
  json.key("buckets").beginObject();
  for (std::size_t standing = kLow; standing < kLow + 3; ++standing) {
    json.key(kStandingNames[standing]).value(bucketOf(comparison, standing, isNow));
  }
  json.endObject();
  writeHistogram(json, side.histogram);
  json.endObject();
}

}  // namespace

std::uint64_t Comparison::appeared() const {
  std::uint64_t count = 0;
  for (std::size_t today = 0; today < kAbsent; ++today) count += moved[kAbsent][today];
  return count;
}

std::uint64_t Comparison::disappeared() const {
  std::uint64_t count = 0;
  for (std::size_t then = 0; then < kAbsent; ++then) count += moved[then][kAbsent];
  return count;
}

std::uint64_t Comparison::changed() const {
  std::uint64_t count = 0;
  for (std::size_t then = 0; then < kAbsent; ++then) {
    for (std::size_t today = 0; today < kAbsent; ++today) count += then == today ? 0 : moved[then][today];
  }
  return count;
}

const char* driftWord(double drift) {
  return drift < 0.1 ? "little" : drift < 0.25 ? "some" : "much";
}

std::string textReport(const Comparison& comparison, const SourceFacts& now, const SourceFacts& before,
                       std::size_t width) {
  std::string text = fitTo("Scores in " + core::printable(comparison.now.field), width) + "\n";
  text += fitTo("now    " + nameOf(now), width) + "\n" + fitTo("before " + nameOf(before), width) + "\n";
  if (comparison.before.field != comparison.now.field) {
    text += fitTo("       in " + core::printable(comparison.before.field), width) + "\n";
  }
  text += fitTo("matched by " + core::printable(comparison.identity), width) + "\n\n" + figures(comparison, width) +
          "\n" + matrix(comparison, width) + "\n";
  text += grouped(comparison.changed()) + " changed bucket, " + grouped(comparison.appeared()) + " are new, " +
          grouped(comparison.disappeared()) + " are gone\n";
  if (comparison.meanChange) {
    text += "of " + grouped(comparison.both) + " scored in both " + grouped(comparison.rose) + " rose and " +
            grouped(comparison.fell) + " fell, by " + signedNumber(*comparison.meanChange) + " in the mean\n";
  }
  if (comparison.drift) {
    text += "drift (population stability index) " + fixed(*comparison.drift, 3) + ": " + driftWord(*comparison.drift) +
            "\n";
  }
  if (comparison.before.repeated + comparison.now.repeated > 0) {
    text += "if several rows have the same identity, the highest score counts\n";
  }
  if (comparison.before.withoutIdentity + comparison.now.withoutIdentity > 0) {
    text += "rows without an identity cannot be compared\n";
  }
  return text;
}

std::string jsonReport(const Comparison& comparison, const SourceFacts& now, const SourceFacts& before) {
  std::string text;
  json::Writer json(text);
  json.beginObject();
  json.key("identity").value(comparison.identity);
  json.key("before");
  writeSide(json, comparison, false, before);
  json.key("now");
  writeSide(json, comparison, true, now);
  json.key("moved").beginArray();
  for (std::size_t then = 0; then < kStandings; ++then) {
    for (std::size_t today = 0; today < kStandings; ++today) {
      if (then == kAbsent && today == kAbsent) continue;
      json.beginObject();
      json.key("before").value(kStandingNames[then]).key("now").value(kStandingNames[today]);
      json.key("count").value(comparison.moved[then][today]);
      json.endObject();
    }
  }
  json.endArray();
  json.key("new").value(comparison.appeared()).key("gone").value(comparison.disappeared());
  json.key("changed").value(comparison.changed()).key("both").value(comparison.both);
  json.key("rose").value(comparison.rose).key("fell").value(comparison.fell);
  json.key("mean_change").value(comparison.meanChange).key("psi").value(comparison.drift);
  json.endObject();
  return text + "\n";
}

std::vector<Sheet> sheetReport(const Comparison& comparison, const SourceFacts& now, const SourceFacts& before) {
  Sheet figuresSheet{.name = "Figures", .header = {"figure", "before", "now"}};
  const ComparedSide& a = comparison.before;
  const ComparedSide& b = comparison.now;
  figuresSheet.rows = {{"source", nameOf(before), nameOf(now)},
                       {"field", a.field, b.field},
                       {"rows", cellOf(a.records), cellOf(b.records)},
                       {"identities", cellOf(a.identities), cellOf(b.identities)},
                       {"repeated rows", cellOf(a.repeated), cellOf(b.repeated)},
                       {"rows without identity", cellOf(a.withoutIdentity), cellOf(b.withoutIdentity)},
                       {"mean score", cellOf(a.mean), cellOf(b.mean)},
                       {"mean change of those in both", SheetCell(), cellOf(comparison.meanChange)},
                       {"drift (population stability index)", SheetCell(), cellOf(comparison.drift)}};
  Sheet moved{.name = "Moved", .header = {"before", "now", "identities"}};
  for (std::size_t then = 0; then < kStandings; ++then) {
    for (std::size_t today = 0; today < kStandings; ++today) {
      if (comparison.moved[then][today] == 0) continue;
      moved.rows.push_back({kStandingNames[then], kStandingNames[today], cellOf(comparison.moved[then][today])});
    }
  }
  return {figuresSheet, moved};
}

}  // namespace caiexport::reader
