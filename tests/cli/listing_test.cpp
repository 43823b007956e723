#include "cli/output/job_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "caiexport/core/text.h"
#include "caiexport/platform/client.h"
#include "caiexport/reader/table.h"

namespace caiexport::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Listed listed(const std::string& id, const std::string& name, std::optional<int> day) {
  Listed entry;
  entry.id = id;
  entry.name = name;
  if (day) entry.at = core::TimePoint(std::chrono::days(20'000 + *day));
  return entry;
}

std::vector<std::string> idsOf(Newest& newest) {
  std::vector<std::string> ids;
  for (const Listed& entry : newest.sorted()) ids.push_back(entry.id);
  return ids;
}

TEST(Newest, SortsWhatComesInAnyOrder) {
  Newest newest("", 0);
  newest.take(listed("b", "", 1));
  newest.take(listed("untimed", "", {}));
  newest.take(listed("c", "", 3));
  newest.take(listed("a", "", 2));
  EXPECT_THAT(idsOf(newest), ElementsAre("c", "a", "b", "untimed"));
  EXPECT_EQ(newest.found(), 4U);
}

TEST(Newest, FindsInNamesAndIdsInCapitalsOrNot) {
  Newest newest("ChUrN", 0);
  newest.take(listed("1", "Scores - churn_q3", 1));
  newest.take(listed("CHURN-2", "", 2));
  newest.take(listed("3", "Web events", 3));
  EXPECT_THAT(idsOf(newest), ElementsAre("CHURN-2", "1"));
  EXPECT_EQ(newest.found(), 2U);
}

TEST(Newest, KeepsTheNewestHoweverManyThereAre) {
  Newest newest("", 2);
  for (int i = 0; i < 5000; ++i) newest.take(listed(std::to_string(i), "", (i * 7919) % 5000));
  const std::vector<Listed> entries = newest.sorted();
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].at, core::TimePoint(std::chrono::days(24'999)));
  EXPECT_EQ(entries[1].at, core::TimePoint(std::chrono::days(24'998)));
  EXPECT_EQ(newest.found(), 5000U);
}

TEST(ListingText, FitsEveryWidthAndNeverCutsAnId) {
  const std::string uuid = "7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a";
  std::vector<Listed> entries{listed(uuid, "A name of some length that no narrow terminal holds", 3),
                              listed("short", "\xE7\xB7\x9A\xE7\xB7\x9A", {})};
  entries[0].mark = "scores";
  const ListingColumns columns{.mark = "kind", .at = "created"};
  for (const std::size_t width : {40U, 60U, 80U, 200U}) {
    const std::string text = listingText(entries, columns, width);
    EXPECT_THAT(text, HasSubstr(uuid)) << width;
    EXPECT_THAT(text, HasSubstr("scores")) << width;
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      EXPECT_LE(reader::displayWidth(line), width) << line;
      rest.remove_prefix(line.size() + 1);
    }
  }
  EXPECT_THAT(listingText(entries, columns, 0), HasSubstr("no narrow terminal holds\n"));
}

TEST(ListingText, ShowsNothingThatSteersATerminal) {
  const std::vector<Listed> entries{listed("id", "evil \x1b[2J", 1)};
  EXPECT_THAT(listingText(entries, {.mark = "", .at = "updated"}, 80), HasSubstr("evil \\x1b[2J"));
}

TEST(DatasetUse, TellsByNameAndSchema) {
  const auto useOf = [](const std::string& name, const std::string& schema = "") {
    platform::Dataset dataset;
    dataset.name = name;
    dataset.schemaId = schema;
    return platform::useOf(dataset);
  };
  using platform::DatasetUse;
  EXPECT_EQ(useOf("Customer AI Scores - churn_q3"), DatasetUse::scores);
  EXPECT_EQ(useOf("customer ai scores - x", platform::kProfileUnionSchema), DatasetUse::scores);
  EXPECT_EQ(useOf("Customer AI Scores in EE Format - churn_q3"), DatasetUse::scoreEvents);
  EXPECT_EQ(useOf("caiexport High churn risk", platform::kProfileUnionSchema), DatasetUse::audience);
  EXPECT_EQ(useOf("Web events 1", "https://ns.adobe.com/xdm/schemas/1"), DatasetUse::other);
  EXPECT_EQ(useOf("My Customer AI Scores"), DatasetUse::other);
}

}  // namespace
}  // namespace caiexport::cli
