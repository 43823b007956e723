#include "caiexport/core/secret.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <new>
#include <sstream>

namespace caiexport::core {
namespace {

/// Longer than what std::string keeps inside itself, so that it lives on the heap.
const std::string kLongText = "a client secret that is longer than any small-string buffer";

TEST(Secret, PrintsAsStars) {
  std::ostringstream out;
  out << Secret("p8e-abc");
  EXPECT_EQ(out.str(), "***");
  std::ostringstream outOfEmpty;
  outOfEmpty << Secret();
  EXPECT_EQ(outOfEmpty.str(), "***") << "nor does it tell whether there is one";
}

TEST(Secret, RevealsWhatItHolds) {
  EXPECT_EQ(Secret(kLongText).reveal(), kLongText);
  EXPECT_TRUE(Secret().empty());
  EXPECT_FALSE(Secret("x").empty());
}

TEST(Secret, MovedFromIsEmpty) {
  for (const std::string& text : {std::string("short"), kLongText}) {
    Secret source(text);
    const Secret target(std::move(source));
    EXPECT_EQ(target.reveal(), text);
    EXPECT_TRUE(source.empty());  // NOLINT(bugprone-use-after-move): what is asked here.

    Secret second(text);
    Secret assigned("before");
    assigned = std::move(second);
    EXPECT_EQ(assigned.reveal(), text);
    EXPECT_TRUE(second.empty());  // NOLINT(bugprone-use-after-move)
  }
}

TEST(Secret, CopiesAreTheirOwn) {
  Secret original(kLongText);
  Secret copy(original);
  original = Secret("other");
  EXPECT_EQ(copy.reveal(), kLongText);
  const Secret& itself = copy;
  copy = itself;
  EXPECT_EQ(copy.reveal(), kLongText);
}

TEST(Cleanse, OverwritesTheWholeBufferOfALongText) {
  std::string text = kLongText;
  const std::size_t before = text.capacity();
  const volatile char* const buffer = text.data();
  // The tail of the longer text stays behind the end of the shorter one.
  text.resize(3);
  cleanse(text);
  ASSERT_TRUE(text.empty());
  ASSERT_EQ(text.capacity(), before) << "the buffer must be the same one, so that it may be looked at";
  const std::string_view tail = std::string_view(kLongText).substr(4);
  std::string seen;
  for (std::size_t i = 4; i < kLongText.size(); ++i) seen += buffer[i];
  EXPECT_NE(seen, tail);
  EXPECT_EQ(seen, std::string(tail.size(), '\0'));
}

/// A secret that fits into the object, in memory that outlives it: what the destructor leaves can be looked at.
class BuriedSecret {
 public:
  explicit BuriedSecret(Secret&& secret) : secret_(new (memory_.data()) Secret(std::move(secret))) {}
  Secret& secret() { return *secret_; }
  void destroy() { secret_->~Secret(); }
  bool holds(std::string_view text) const {
    const auto* bytes = reinterpret_cast<const char*>(memory_.data());
    const volatile char* raw = bytes;
    std::string seen;
    for (std::size_t i = 0; i < memory_.size(); ++i) seen += raw[i];
    return seen.find(text) != std::string::npos;
  }

 private:
  alignas(Secret) std::array<std::byte, sizeof(Secret)> memory_{};
  Secret* secret_;
};

TEST(Secret, IsOverwrittenWhenItGoes) {
  BuriedSecret buried(Secret("k9#mZ"));
  ASSERT_TRUE(buried.holds("k9#mZ")) << "short texts are expected inside the object";
  buried.destroy();
  EXPECT_FALSE(buried.holds("9#mZ")) << "all of it, not only the first character";
}

TEST(Secret, IsOverwrittenWhenMovedAway) {
  BuriedSecret buried(Secret("k9#mZ"));
  ASSERT_TRUE(buried.holds("k9#mZ"));
  const Secret target(std::move(buried.secret()));
  EXPECT_FALSE(buried.holds("9#mZ")) << "all of it, not only the first character";
  EXPECT_EQ(target.reveal(), "k9#mZ");
  buried.destroy();
}

TEST(Secret, IsOverwrittenWhenReplacedByAShorterOne) {
  BuriedSecret buried(Secret("k9#mZ-tail"));
  buried.secret() = Secret("ab");
  EXPECT_FALSE(buried.holds("-tail"));
  const Secret shorter("cd");
  buried.secret() = shorter;
  EXPECT_EQ(buried.secret().reveal(), "cd");
  buried.destroy();
}

}  // namespace
}  // namespace caiexport::core
