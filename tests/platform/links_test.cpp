#include "platform/links.h"

#include "fixture.h"
#include "platform/json.h"

namespace caiexport::platform {
namespace {

using core::Category;
using testing::HasSubstr;

const net::Origin kPlatform{.scheme = "https", .host = "platform.example", .port = 443};
constexpr const char* kPage = "https://platform.example/data/foundation/export/batches/B/files?start=0";

Json field(const std::string& value) {
  return Json::tryParse("{\"href\": \"" + value + "\"}")->at("href");
}

TEST(SameOriginLinkTest, TreatsTheDefaultPortAsNone) {
  EXPECT_EQ(sameOriginLink(kPlatform, kPage, field("https://PLATFORM.example:443/x?a=b%2Fc")),
            "https://PLATFORM.example:443/x?a=b%2Fc");
  const net::Origin other{.scheme = "http", .host = "127.0.0.1", .port = 8080};
  EXPECT_EQ(sameOriginLink(other, "http://127.0.0.1:8080/y", field("http://127.0.0.1:8080/x")),
            "http://127.0.0.1:8080/x");
}

TEST(SameOriginLinkTest, RefusesEveryOtherOriginAndNamesBoth) {
  for (const char* link :
       {"https://evil.example/x", "http://platform.example/x", "https://platform.example:8443/x", "//evil.example/x",
        "https://platform.example.evil.example/x", "https://platform.example@evil.example/x",
        "https://user:canary@platform.example/x", "https://evil.example\\\\@platform.example/x",
        "ftp://platform.example/x", "javascript:alert(1)", "file:///etc/passwd", "https:///x",
        "https://platform.example:0/x", "x\\r\\nHost: evil"}) {
    const auto error = failureOf(Category::protocol, [&] { sameOriginLink(kPlatform, kPage, field(link)); });
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("canary"))) << link;
  }
  const auto error =
      failureOf(Category::protocol, [&] { sameOriginLink(kPlatform, kPage, field("https://evil.example/x")); });
  EXPECT_THAT(error.what(), HasSubstr("leads to https://evil.example"));
  EXPECT_THAT(error.what(), HasSubstr("https://platform.example only"));
}

TEST(SameOriginLinkTest, EncodesOnlyWhatCannotBeSent) {
  EXPECT_EQ(sameOriginLink(kPlatform, kPage, field("/f?start=a b,\u00e9%20|+")),
            "https://platform.example/f?start=a%20b,%C3%A9%20|+");
  EXPECT_EQ(sameOriginLink(kPlatform, kPage, field("?start=1")),
            "https://platform.example/data/foundation/export/batches/B/files?start=1");
}

TEST(LinkParameterTest, IsAllThatIsTakenOfALink) {
  const auto start = [](const char* href) { return linkParameter(kPlatform, field(href), "start"); };
  EXPECT_EQ(start("@/segmentJobs?start=1&limit=20&totalCount=45"), "1");
  EXPECT_EQ(start("/segment/jobs?limit=20&start=17%5F2#x"), "17_2");
  EXPECT_EQ(start("https://platform.example/data/core/ups/x?start=3"), "3");
  EXPECT_EQ(start("?restart=1&start=2"), "2");
  EXPECT_EQ(start("/a?next=http://evil.example/&start=4"), "4");
  for (const char* none : {"@/segmentJobs", "/x?limit=1", "/x?start=", "/x?start", "/x?starting=1", ""}) {
    EXPECT_FALSE(start(none)) << none;
  }
  failureOf(Category::protocol, [&] { start("https://evil.example/export/jobs?start=1"); });
  failureOf(Category::protocol, [&] { start("//evil.example/export/jobs?start=1"); });
}

TEST(FileNameTest, AcceptsPlainNames) {
  for (const char* name : {"part-00000-tid-1-c000.snappy.parquet", "a", "it's a file.csv", "\u00fcber.parquet", "CON",
                           "-x", ".hidden.parquet", "..a", "a:b", "100%.parquet"}) {
    EXPECT_EQ(checkedFileName(field(name)), name);
  }
  EXPECT_EQ(checkedFileName(field(std::string(250, 'x'))), std::string(250, 'x'));
}

TEST(FileNameTest, RefusesWhatCouldLeaveTheFolderOrHarm) {
  for (const char* name :
       {"", ".", "..", "../x", "/etc/passwd", "a/../../b", "a/b", "a\\\\b", "a\\u0000b", "a\\nb", "a\\u001b[2Jb",
        "a\\u007fb", "a\\u202eb", "a\\u0085b", "x.part", "X.PART", "manifest.json", "Manifest.JSON"}) {
    failureOf(Category::protocol, [&] { checkedFileName(field(name)); });
  }
  failureOf(Category::protocol, [&] { checkedFileName(field(std::string(251, 'x'))); });
  const auto error = failureOf(Category::protocol, [&] { checkedFileName(field("../x\\u001b[2J")); });
  EXPECT_THAT(error.what(), HasSubstr("'../x\\x1b[2J'"));
}

TEST(DerivableTest, ComparesTheRequestNotItsSpelling) {
  const model::DatasetFileId id("B-1");
  const auto derivable = [&](const std::string& url, const char* name = "a b,c.parquet") {
    return isDerivable(url, kPlatform, id, name);
  };
  const std::string base = "https://platform.example/data/foundation/export/files/B-1";
  EXPECT_TRUE(derivable("https://platform.example" + fileTarget(id, "a b,c.parquet")));
  EXPECT_TRUE(derivable(base + "?path=a%20b,c.parquet"));
  EXPECT_TRUE(derivable("https://platform.example:443/data/foundation/export/files/B%2d1?path=a%20b%2cc.parquet"));
  EXPECT_FALSE(derivable(base + "?path=a+b,c.parquet"));
  EXPECT_FALSE(derivable(base + "?path=other.parquet"));
  EXPECT_FALSE(derivable(base + "?path=a%20b,c.parquet&x=1"));
  EXPECT_FALSE(derivable(base + "?v=1"));
  EXPECT_FALSE(derivable(base));
  EXPECT_FALSE(derivable("https://platform.example/data/foundation/export/files/B-2?path=a%20b,c.parquet"));
  EXPECT_TRUE(derivable(base + "?path=100%.parquet", "100%.parquet"));
}

TEST(ContentRangeTest, ReadsRangesAndTotals) {
  const auto full = parseContentRange("bytes 0-99/249058");
  ASSERT_TRUE(full && full->range);
  EXPECT_EQ(*full->range, (model::ByteRange{0, 100}));
  EXPECT_EQ(full->totalBytes, 249058U);
  const auto open = parseContentRange(" Bytes 5-5/* ");
  ASSERT_TRUE(open && open->range);
  EXPECT_EQ(*open->range, (model::ByteRange{5, 6}));
  EXPECT_FALSE(open->totalBytes);
  const auto unsatisfied = parseContentRange("bytes */7");
  ASSERT_TRUE(unsatisfied);
  EXPECT_FALSE(unsatisfied->range);
  EXPECT_EQ(unsatisfied->totalBytes, 7U);
}

TEST(ContentRangeTest, RefusesEverythingElse) {
  for (const char* text : {"", "bytes", "bytes 0-99", "bytes 9-5/10", "bytes 0-10/10", "bytes -5/10", "bytes 5-/10",
                           "items 0-1/2", "bytes a-b/c", "bytes 0-1/x", "bytes 0-18446744073709551615/*",
                           "bytes 0-99999999999999999999/*", "bytes=0-1/2", "bytes 0-1/-2"}) {
    EXPECT_FALSE(parseContentRange(text)) << text;
  }
}

}  // namespace
}  // namespace caiexport::platform
