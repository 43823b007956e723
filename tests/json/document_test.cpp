#include "caiexport/json/document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>

namespace {

/// What is held, and was held at most, by operator new since the last reset.
std::size_t held = 0;
std::size_t mostHeld = 0;

void* counted(std::size_t bytes) {
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  held += malloc_usable_size(memory);
  mostHeld = std::max(mostHeld, held);
  return memory;
}

void uncounted(void* memory) noexcept {
  if (memory != nullptr) held -= std::min(held, malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t bytes) {
  return counted(bytes);
}
void operator delete(void* memory) noexcept {
  uncounted(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  uncounted(memory);
}

namespace caiexport::json {
namespace {

using Problem = Document::Problem;

std::string repeated(const std::string& piece, std::size_t bytes, const std::string& first, const std::string& last) {
  std::string text = first;
  text.reserve(bytes + 64);
  while (text.size() < bytes) text += piece;
  return text + last;
}

TEST(DocumentTest, HoldsEveryKind) {
  const auto [document, problem] = Document::parse(
      R"({"a": [null, true, -7, 18446744073709551615, 1.5, "t\u00e9xt", {}, []], "big": 18446744073709551616, "b": {"c": 1}})");
  ASSERT_EQ(problem, Problem::none);
  EXPECT_EQ(document->kind(0), Kind::object);
  EXPECT_EQ(document->size(0), 3U);
  const auto elements = document->elements(document->member(0, "a"));
  ASSERT_EQ(elements.size(), 8U);
  EXPECT_EQ(document->kind(elements[0]), Kind::null);
  EXPECT_TRUE(document->boolean(elements[1]));
  EXPECT_EQ(document->integer(elements[2]), -7);
  EXPECT_EQ(document->natural(elements[3]), 18446744073709551615U);
  EXPECT_EQ(document->real(elements[4]), 1.5);
  EXPECT_EQ(document->text(elements[5]), "t\u00e9xt");
  EXPECT_EQ(document->kind(elements[6]), Kind::object);
  EXPECT_EQ(document->kind(elements[7]), Kind::array);
  EXPECT_EQ(document->text(document->member(0, "big")), "18446744073709551616") << "a number that nothing holds";
  EXPECT_EQ(document->integer(document->member(document->member(0, "b"), "c")), 1);
  EXPECT_EQ(document->member(0, "none"), 0U);
}

TEST(DocumentTest, OfANameThatStandsTwiceTheLastValueCounts) {
  const auto document = Document::parse(R"({"z": 1, "a": 2, "z": [3, {"z": 4}]})").document;
  const auto members = document->members(0);
  ASSERT_EQ(members.size(), 2U);
  EXPECT_EQ(members[0].first, "z");
  EXPECT_EQ(document->kind(members[0].second), Kind::array);
  EXPECT_EQ(document->member(0, "z"), members[0].second);
}

TEST(DocumentTest, RefusesWhatIsNoDocument) {
  for (const char* text : {"", "42", "\"x\"", "[1", "{\"a\": 1} x", "[1,]", "{\"a\"}", "[\"\xff\"]", "nul"}) {
    EXPECT_EQ(Document::parse(text).problem, Problem::malformed) << text;
  }
  EXPECT_EQ(Document::parse(std::string(129, '[') + std::string(129, ']')).problem, Problem::tooDeep);
  EXPECT_EQ(Document::parse(std::string(16U << 20U, '[')).problem, Problem::tooDeep);
}

TEST(DocumentTest, CountsValues) {
  const Document::Limits three{.levels = 128, .values = 3};
  EXPECT_EQ(Document::parse("[1, 2]", three).problem, Problem::none);
  EXPECT_EQ(Document::parse("[1, 2, {}, [[3]]]", three).problem, Problem::tooManyValues);
  EXPECT_EQ(Document::parse(R"({"a": {"b": 1}})", three).problem, Problem::none);
}

/// Whatever the text holds: with the limit on values in force, and just below it.
TEST(DocumentTest, TakesLessThanEightTimesTheTextsMemory) {
  struct Bomb {
    std::string piece;
    std::string first = "[";
    std::string last = "0]";
  };
  for (const Bomb& bomb : {Bomb{"{},"}, Bomb{"0,"}, Bomb{"[],"}, Bomb{"\"\","}, Bomb{"[[[[]]]],"}, Bomb{"{\"\":0},"},
                           Bomb{"1e999,"}, Bomb{"\"\":0,", "{", "\"x\":0}"}, Bomb{"99999999999999999999,"}}) {
    for (const std::size_t bytes : {std::size_t{1} << 20U, std::size_t{3} << 20U}) {
      const std::string text = repeated(bomb.piece, bytes, bomb.first, bomb.last);
      const std::size_t before = held;
      mostHeld = held;
      const Document::Parsed parsed = Document::parse(text);
      EXPECT_LE(mostHeld - before, 8 * text.size()) << bomb.piece << " in " << bytes;
      EXPECT_NE(parsed.problem, Problem::malformed) << bomb.piece;
      EXPECT_NE(parsed.problem, Problem::tooDeep) << bomb.piece;
    }
  }
}

TEST(DocumentTest, KnowsWhereAStringEnds) {
  // The number behind it is one that is kept as text: that shows where the string was taken to end.
  for (const char* string :
       {R"("")", R"("a")", R"("\\")", R"("\"")", R"("\"\"")", R"("\\\"")", R"("a\\\\")", R"("\n\"\\b")"}) {
    const auto [document, problem] = Document::parse(std::string("[") + string + ", 18446744073709551616]");
    ASSERT_EQ(problem, Problem::none) << string;
    ASSERT_EQ(document->size(0), 2U) << string;
    EXPECT_EQ(document->text(document->elements(0)[1]), "18446744073709551616") << string;
  }
  EXPECT_EQ(Document::parse("[\"a").problem, Problem::malformed);
  EXPECT_EQ(Document::parse("[\"a\\").problem, Problem::malformed);
  EXPECT_EQ(Document::parse("[\"a\\\"").problem, Problem::malformed);
}

TEST(DocumentTest, SaysWhereAValueStands) {
  const auto document = Document::parse(R"([{"a": 1, "b": {"c": [[], [5, {"d": 6}]], "e": {}}}, 7])").document;
  ASSERT_NE(document, nullptr);
  const auto at = [&](Document::Index object, const char* name) { return document->member(object, name); };
  const Document::Index first = document->elements(0)[0];
  const Document::Index inner = document->elements(document->elements(at(at(first, "b"), "c"))[1])[1];
  EXPECT_EQ(document->path(0), "");
  EXPECT_EQ(document->path(first), "[0]");
  EXPECT_EQ(document->path(at(first, "a")), "[0].a");
  EXPECT_EQ(document->path(at(inner, "d")), "[0].b.c[1][1].d");
  EXPECT_EQ(document->path(at(at(first, "b"), "e")), "[0].b.e");
  EXPECT_EQ(document->path(document->elements(0)[1]), "[1]");
}

/// Quadratic work would take minutes here, and below.
TEST(DocumentTest, AStringOfManyEscapesTakesLinearTime) {
  const std::string text = repeated("\\n", 8U << 20U, "[\"", "\"]");
  EXPECT_EQ(Document::parse(text).problem, Problem::none);
}

TEST(DocumentTest, AnObjectOfManyKeysTakesLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 400'000; ++i) text += "\"key-" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  text += "\"last\": 1}";
  const auto document = Document::parse(text).document;
  ASSERT_NE(document, nullptr);
  EXPECT_EQ(document->members(0).size(), 400'001U);
}

}  // namespace
}  // namespace caiexport::json
