#include "caiexport/core/error.h"

#include <gtest/gtest.h>

#include <set>

namespace caiexport::core {
namespace {

using namespace std::chrono_literals;

constexpr Category kAll[] = {
    Category::usage,       Category::config,      Category::auth,         Category::permission,
    Category::notFound,    Category::timedOut,    Category::remoteFailed, Category::io,
    Category::unavailable, Category::protocol,    Category::busy,         Category::verification,
    Category::blocked,     Category::interrupted, Category::internal,     Category::tooOld,
};

TEST(Category, NamesAreDistinctAndReadBack) {
  std::set<std::string_view> names;
  for (const Category category : kAll) {
    EXPECT_EQ(categoryFrom(nameOf(category)), category) << nameOf(category);
    names.insert(nameOf(category));
  }
  EXPECT_EQ(names.size(), std::size(kAll));
  EXPECT_EQ(nameOf(Category::notFound), "notFound");
}

TEST(Category, AnUnknownNameIsInternal) {
  EXPECT_EQ(categoryFrom("nosuch"), Category::internal);
  EXPECT_EQ(categoryFrom(""), Category::internal);
}

TEST(Category, ExitCodesAreTheDocumentedOnes) {
  EXPECT_EQ(exitCodeOf(Category::internal), 1);
  EXPECT_EQ(exitCodeOf(Category::usage), 2);
  EXPECT_EQ(exitCodeOf(Category::config), 2);
  EXPECT_EQ(exitCodeOf(Category::auth), 3);
  EXPECT_EQ(exitCodeOf(Category::permission), 3);
  EXPECT_EQ(exitCodeOf(Category::notFound), 4);
  EXPECT_EQ(exitCodeOf(Category::remoteFailed), 5);
  EXPECT_EQ(exitCodeOf(Category::timedOut), 6);
  EXPECT_EQ(exitCodeOf(Category::unavailable), 7);
  EXPECT_EQ(exitCodeOf(Category::protocol), 8);
  EXPECT_EQ(exitCodeOf(Category::verification), 8);
  EXPECT_EQ(exitCodeOf(Category::io), 9);
  EXPECT_EQ(exitCodeOf(Category::busy), 10);
  EXPECT_EQ(exitCodeOf(Category::blocked), 11);
  EXPECT_EQ(exitCodeOf(Category::tooOld), 12);
  EXPECT_EQ(exitCodeOf(Category::interrupted), 130);
}

TEST(Category, TheTableHasARowForEachThatSaysWhatItMeans) {
  for (const Category category : kAll) {
    const CategoryFacts& facts = factsOf(category);
    EXPECT_EQ(facts.category, category) << nameOf(category);
    EXPECT_FALSE(facts.remedy.empty()) << nameOf(category);
    EXPECT_NE(facts.wayOn.find("JOB"), std::string_view::npos) << nameOf(category);
    EXPECT_FALSE(facts.concernsAllFiles && facts.concernsOneBatch) << nameOf(category);
    EXPECT_EQ(facts.step == StepEnd::blocked, category == Category::blocked) << nameOf(category);
  }
}

TEST(Category, AFailureThatMayPassLeavesTheStepBegun) {
  for (const Category category : {Category::timedOut, Category::unavailable, Category::busy, Category::interrupted}) {
    EXPECT_EQ(factsOf(category).step, StepEnd::noted) << nameOf(category);
  }
  for (const Category category : {Category::auth, Category::notFound, Category::verification, Category::io}) {
    EXPECT_EQ(factsOf(category).step, StepEnd::failed) << nameOf(category);
  }
}

TEST(Error, CarriesItsDetails) {
  const Error error(Category::notFound, "no batch", {.requestId = "r-1", .hint = "look elsewhere"});
  EXPECT_STREQ(error.what(), "no batch");
  EXPECT_EQ(error.category(), Category::notFound);
  EXPECT_EQ(error.requestId(), "r-1");
  EXPECT_EQ(error.hint(), "look elsewhere");
}

TEST(Error, TransientIsUnavailableAndKnowsItsCause) {
  const TransientError error("answer 429", {.retryAfter = 30s, .throttled = true});
  EXPECT_EQ(error.category(), Category::unavailable);
  EXPECT_EQ(error.cause().retryAfter, 30s);
  EXPECT_TRUE(error.cause().throttled);
  EXPECT_TRUE(error.cause().mayHaveArrived) << "in doubt unless known otherwise";
}

TEST(Error, InterruptedIsAnError) {
  try {
    throw Interrupted();
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::interrupted);
  }
}

}  // namespace
}  // namespace caiexport::core
