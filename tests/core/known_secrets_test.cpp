#include "caiexport/core/secret.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace caiexport::core {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kSecret = "p8e-CANARY/s+cret_01";

std::string without(const std::string& text, KnownSecrets::Use use = KnownSecrets::Use::shown) {
  KnownSecrets secrets;
  secrets.add("p8e-CANARY/s+cret_01");
  secrets.add("pa ss\u00e9word");
  secrets.add("hunter");
  secrets.add("abc");
  return secrets.without(text, use);
}

TEST(KnownSecretsTest, AreFoundInEverySpelling) {
  for (const std::string& spelt :
       {kSecret,
        std::string("P8E-canary/S+CRET_01"),
        std::string("p8e-CANARY%2Fs%2Bcret_01"),
        std::string("p8e-CANARY%2fs%2bcret%5f01"),
        std::string("p8e-CANARY%252Fs%252Bcret_01"),
        std::string("%70%38%65%2D%43ANARY%2Fs%2Bcret_01"),
        std::string("p8e-CANARY\\/s+cret_01"),
        std::string("p8e-CANARY\\u002Fs\\u002bcret_01"),
        std::string("p8e-CANARY\\\\/s+cret_01"),
        std::string("p8e-CANARY\\\\u002Fs+cret_01"),
        std::string("p8e-CANARY%5Cu002Fs+cret_01"),
        std::string("p8e-CANARY&#47;s&#x2b;cret_01"),
        std::string("p8e-CANARY\\x2fs+cret_01"),
        std::string("cDhlLUNBTkFSWS9zK2NyZXRfMDE="),          // base64
        std::string("dTpwOGUtQ0FOQVJZL3MrY3JldF8wMQ=="),      // of "u:" and the secret
        std::string("eHk6cDhlLUNBTkFSWS9zK2NyZXRfMDE6eg=="),  // of "xy:", the secret and ":z"
        std::string("7038652d43414e4152592f732b637265745f3031"),
        std::string("7038652D43414E4152592F732B637265745F3031"),
        std::string("pa ss\u00e9word"),
        std::string("pa+ss%C3%A9word"),
        std::string("pa%20ss\\u00e9word"),
        std::string("hunter"),
        std::string("abc")}) {
    const std::string shown = without("a=" + spelt + ";");
    EXPECT_THAT(shown, HasSubstr("***")) << spelt;
    EXPECT_THAT(shown, Not(HasSubstr(spelt))) << spelt;
    EXPECT_EQ(shown.substr(0, 2), "a=") << spelt;
    EXPECT_EQ(shown.back(), ';') << spelt;
  }
}

TEST(KnownSecretsTest, AreTakenOutWhereverTheyStand) {
  EXPECT_EQ(without(kSecret + kSecret + "x" + kSecret), "******x***");
  EXPECT_EQ(without(R"({"id": "x-p8e-CANARY\/s+cret_01-y", "n": 1})"), R"({"id": "x-***-y", "n": 1})");
  EXPECT_EQ(without("nothing \\\" of 100 % & the like; \xff"), "nothing \\\" of 100 % & the like; \xff");
  EXPECT_EQ(without(""), "");
}

TEST(KnownSecretsTest, ALongOneIsKnownByItsBeginning) {
  KnownSecrets secrets;
  secrets.add("eyJhbGciOiJSUzI1NiIsCANARY-CANARY-CANARY-CANARY");
  EXPECT_EQ(secrets.without("token eyJhbGciOiJSUzI1NiIsCANARY-CANA... is odd"), "token ***... is odd");
}

TEST(KnownSecretsTest, AShortOneIsAWordOfItsOwn) {
  EXPECT_EQ(without("abc, xabc, abcd, (abc)"), "***, xabc, abcd, (***)");
}

TEST(KnownSecretsTest, OrdinaryWordsStayInWhatIsReadOn) {
  EXPECT_EQ(without("hunter abc " + kSecret, KnownSecrets::Use::readOn), "hunter abc ***");
}

TEST(KnownSecretsTest, AreFoundAcrossAllOfALongText) {
  std::string text((3U << 20U) + 17, 'x');
  for (std::size_t at = (1U << 20U) - 30; at < text.size(); at += (1U << 20U))
    text.replace(at, 24, "p8e-CANARY%2Fs+cret_01!!");
  EXPECT_THAT(without(text), Not(HasSubstr("CANARY")));
}

TEST(KnownSecretsTest, MayBeMany) {
  KnownSecrets secrets;
  secrets.add("the client's secret");
  for (int i = 0; i < 200; ++i) secrets.add("token-number-" + std::to_string(i));
  EXPECT_EQ(secrets.without("the client's secret, token-number-199"), "***, ***");
}

}  // namespace
}  // namespace caiexport::core
