#include "caiexport/core/secret.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "caiexport/core/encoding.h"
#include "caiexport/core/text.h"

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

TEST(KnownSecretsTest, AreFoundAtEveryPlaceOfAText) {
  // The search leaps by as much as the shortest secret allows.
  for (const std::string& secret : {std::string("a1c"), std::string("hunter"), std::string("Tr0ub4dor3"),
                                    std::string("p8e-CANARY-0123456789-abcdefghij-KLMNOPQRST")}) {
    KnownSecrets secrets;
    secrets.add(secret);
    std::string shouted = toLower(secret);
    for (char& c : shouted) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    std::vector<std::string> spellings{secret, toLower(secret), shouted,
                                       "\\u00" + hexOf(secret.substr(0, 1)) + secret.substr(1),
                                       secret.substr(0, 2) + "%" + hexOf(secret.substr(2, 1)) + secret.substr(3)};
    if (secret.size() >= 6) spellings.push_back(hexOf(secret));
    if (secret.size() > 20) spellings.push_back(secret.substr(0, 20));
    for (const std::string& spelt : spellings) {
      for (std::size_t before = 0; before < 45; ++before) {
        for (const std::size_t after : {0, 1, 2, 30}) {
          const std::string left(before, '.');
          const std::string right(after, '.');
          EXPECT_EQ(secrets.without(left + spelt + right), left + "***" + right) << spelt;
          EXPECT_EQ(secrets.without(left + spelt + "," + spelt + right), left + "***,***" + right) << spelt;
        }
      }
    }
  }
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
