#include "caiexport/model/replacement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace caiexport::model {
namespace {

Batch batch(const std::string& id, int age, std::vector<std::string> predecessors = {}, std::string reason = "") {
  Batch made;
  made.id = BatchId(id);
  made.created = core::TimePoint(core::Duration(1'000'000 - age));
  for (std::string& one : predecessors) made.predecessors.emplace_back(std::move(one));
  made.replayReason = std::move(reason);
  return made;
}

std::map<std::string, Superseded> found(const std::vector<Batch>& batches) {
  std::map<std::string, Superseded> byId;
  for (const Superseded& one : supersededBy(batches)) byId[one.batch.value()] = one;
  return byId;
}

TEST(Superseded, NothingWhereNothingIsNamed) {
  EXPECT_TRUE(found({batch("a", 1), batch("b", 2)}).empty());
}

TEST(Superseded, TheNewestOfAChainStandsForAllOfIt) {
  const auto all = found({batch("c", 1, {"b"}, "third"), batch("b", 2, {"a"}, "second"), batch("a", 3)});
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all.at("b").by.value(), "c");
  EXPECT_EQ(all.at("b").reason, "third");
  EXPECT_EQ(all.at("a").by.value(), "c");
  EXPECT_EQ(all.at("a").reason, "second");
}

TEST(Superseded, WhatIsNamedButNotListedCountsToo) {
  EXPECT_EQ(found({batch("b", 1, {"gone"})}).at("gone").by.value(), "b");
}

TEST(Superseded, OfSeveralSuccessorsTheNewestIsNamed) {
  const auto all = found({batch("old", 2, {"a"}), batch("new", 1, {"a"})});
  EXPECT_EQ(all.at("a").by.value(), "new");
}

TEST(Superseded, APrivacyDeletionHoldsForAllBeforeIt) {
  const auto all = found({batch("d", 1, {"c"}, "new scores"), batch("c", 2, {"b"}, "GDPR delete request"),
                          batch("b", 3, {"a"}, "new scores"), batch("a", 4)});
  EXPECT_FALSE(all.at("c").privacy) << "it was made after the deletion";
  EXPECT_TRUE(all.at("b").privacy);
  EXPECT_TRUE(all.at("a").privacy) << "the person is in there as well";
}

TEST(Superseded, PrivacyIsFoundOnTheOtherWayToo) {
  const auto all = found({batch("x", 1, {"a"}, "new scores"), batch("y", 2, {"a"}, "privacy")});
  EXPECT_TRUE(all.at("a").privacy);
}

TEST(Superseded, OfACircleTheNewestStands) {
  EXPECT_TRUE(found({batch("a", 1, {"a"})}).empty());
  const auto two = found({batch("a", 1, {"b"}), batch("b", 2, {"a"})});
  ASSERT_EQ(two.size(), 1U);
  EXPECT_EQ(two.at("b").by.value(), "a");
  const auto below = found({batch("c", 1, {"a"}), batch("a", 2, {"b"}), batch("b", 3, {"a", "b"})});
  ASSERT_EQ(below.size(), 2U);
  EXPECT_EQ(below.at("a").by.value(), "c");
  EXPECT_EQ(below.at("b").by.value(), "c");
  const auto above = found({batch("new", 1), batch("a", 2, {"b", "new"}), batch("b", 3, {"a"})});
  ASSERT_EQ(above.size(), 2U);
  EXPECT_EQ(above.at("new").by.value(), "a");
}

TEST(Superseded, AChainMayBeAsLongAsAList) {
  std::vector<Batch> chain;
  for (int age = 0; age < 100'000; ++age) chain.push_back(batch(std::to_string(age), age, {std::to_string(age + 1)}));
  const auto all = found(chain);
  EXPECT_EQ(all.size(), 100'000U);
  EXPECT_EQ(all.at("100000").by.value(), "0");
}

TEST(Superseded, EntriesOfOneIdAreOneBatch) {
  Batch noted;
  noted.id = BatchId("b");
  noted.predecessors = {BatchId("a")};
  noted.replayReason = "privacy";
  const auto all = found({batch("c", 1, {"b"}), batch("b", 2), noted});
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all.at("a").by.value(), "c");
  EXPECT_TRUE(all.at("a").privacy);
}

TEST(Superseded, AnInheritedPrivacyDeletionBearsItsReason) {
  const auto all = found({batch("c", 1, {"b"}, "GDPR 12"), batch("b", 2, {"a"}, "new scores")});
  EXPECT_EQ(all.at("a").reason, "GDPR 12") << "what is recorded of it must tell that it was one";
}

TEST(PrivacyDeletion, IsToldByTheReason) {
  for (const char* reason : {"Privacy request 12", "GDPR", "ccpa delete", "right to be forgotten", "Data hygiene",
                             "records deleted on request"}) {
    EXPECT_TRUE(isPrivacyDeletion(reason)) << reason;
  }
  for (const char* reason : {"", "Replacing for 2020-04-09", "new scores replace the last ones"}) {
    EXPECT_FALSE(isPrivacyDeletion(reason)) << reason;
  }
}

TEST(ReplaceAction, NamesAreReadBack) {
  for (const auto action : {ReplaceAction::keep, ReplaceAction::aside, ReplaceAction::remove, ReplaceAction::skip}) {
    EXPECT_EQ(replaceActionFrom(nameOf(action)), action);
  }
  EXPECT_FALSE(replaceActionFrom("remove"));
}

}  // namespace
}  // namespace caiexport::model
