#include <gmock/gmock.h>

#include <set>

#include "simulator/platform.h"

namespace caiexport::simulator {
namespace {

using testing::HasSubstr;

std::string newestBatch(Platform& platform) {
  return keysOf(jsonIn(platform.get(scoreBatches + "&status=success&orderBy=desc:created&limit=1")))[0];
}

std::string filesPath(Platform& platform) {
  return "/data/foundation/export/batches/" + newestBatch(platform) + "/files";
}

JsonObject firstEntry(const Response& page) {
  return arrayIn(jsonIn(page), "data")->getObject(0);
}

/// The listing of the newest batch's first dataset file.
std::string directoryPath(Platform& platform) {
  return targetOf(selfLink(firstEntry(platform.get(filesPath(platform)))));
}

/// Everything below a listing, following next links and directories.
std::vector<std::string> namesBelow(Platform& platform, std::string target, int depth = 0) {
  std::vector<std::string> names;
  while (!target.empty() && depth < 10) {
    const JsonObject page = jsonIn(platform.get(target));
    for (const auto& element : *arrayIn(page, "data")) {
      const JsonObject entry = asObject(element);
      const std::vector<std::string> inside = entry->has("name")
                                                  ? std::vector{entry->getValue<std::string>("name")}
                                                  : namesBelow(platform, targetOf(selfLink(entry)), depth + 1);
      names.insert(names.end(), inside.begin(), inside.end());
    }
    const std::string next = nextLink(page);
    target = next.empty() ? "" : targetOf(next);
  }
  return names;
}

TEST(Listing, FollowsNextLinksOverThreePages) {
  Platform platform(R"({"files": 250})");
  const std::string directory = directoryPath(platform);
  const JsonObject first = jsonIn(platform.get(directory));
  EXPECT_EQ(arrayIn(first, "data")->size(), 100U);
  EXPECT_EQ(objectIn(first, "_page")->getValue<int>("count"), 100);
  // On this level start is the name of a file.
  EXPECT_THAT(nextLink(first), HasSubstr("start=part-00100-"));

  const auto names = namesBelow(platform, directory);
  EXPECT_EQ(std::set(names.begin(), names.end()).size(), 251U);
  EXPECT_EQ(names.back(), "_SUCCESS");
}

TEST(Listing, TheFirstLevelCountsAndNumbersPages) {
  Platform platform(R"({"files": 150, "dataset_files": 150})");
  const JsonObject first = jsonIn(platform.get(filesPath(platform)));
  EXPECT_EQ(objectIn(first, "_page")->getValue<int>("count"), 150);
  EXPECT_THAT(nextLink(first), HasSubstr("start=100&limit=100"));
  const JsonObject last = jsonIn(platform.get(targetOf(nextLink(first))));
  EXPECT_EQ(arrayIn(last, "data")->size(), 50U);
  EXPECT_EQ(nextLink(last), "");
}

TEST(Listing, ALargerLimitIsCutToAHundred) {
  Platform platform(R"({"files": 250})");
  EXPECT_EQ(arrayIn(jsonIn(platform.get(directoryPath(platform) + "?limit=1000")), "data")->size(), 100U);
  platform.world.change(R"({"page_limit": 7})");
  EXPECT_EQ(arrayIn(jsonIn(platform.get(directoryPath(platform))), "data")->size(), 7U);
}

TEST(Listing, DirectoriesOfDirectoriesHoldAllFiles) {
  Platform platform(R"({"files": 24, "dataset_files": 3, "nested_directories": 2, "success_marker": false})");
  const auto names = namesBelow(platform, filesPath(platform));
  EXPECT_EQ(std::set(names.begin(), names.end()).size(), 24U);
  const JsonObject inner = firstEntry(platform.get(directoryPath(platform)));
  EXPECT_FALSE(inner->has("name"));
  EXPECT_TRUE(inner->has("dataSetFileId"));
}

TEST(Listing, FormsOfTheSameThing) {
  Platform platform;
  const auto length = [&] { return firstEntry(platform.get(directoryPath(platform)))->get("length"); };
  EXPECT_TRUE(length().isString());
  platform.world.change(R"({"lengths_as_numbers": true})");
  EXPECT_TRUE(length().isInteger());
  EXPECT_EQ(length().convert<int>(), 1000);
  platform.world.change(R"({"listed_length_delta": 5})");
  EXPECT_EQ(length().convert<int>(), 1005);
  const std::string directory = directoryPath(platform);
  platform.world.change(R"({"bare_arrays": true})");
  EXPECT_EQ(asArray(parseJson(platform.get(directory).body))->size(), 4U);
}

TEST(Listing, LinksHaveTheOriginOfTheRequestOrAnother) {
  Platform platform;
  const auto origin = [&](const std::string& host) {
    Headers headers = without(goodHeaders(), "Host");
    headers.emplace_back("Host", host);
    const std::string href = selfLink(firstEntry(platform.send("GET", filesPath(platform), headers)));
    return href.substr(0, href.find("/data"));
  };
  EXPECT_EQ(origin("127.0.0.1:99"), "https://127.0.0.1:99");
  EXPECT_EQ(origin("sim.test"), "https://sim.test");
  platform.world.change(R"({"href_port": "explicit"})");
  EXPECT_EQ(origin("sim.test"), "https://sim.test:443");
  EXPECT_EQ(origin("[::1]"), "https://[::1]:443");
  EXPECT_EQ(origin("[::1]:99"), "https://[::1]:99");
  platform.world.change(R"({"href_origin": "http://evil.test@{authority}"})");
  EXPECT_EQ(origin("sim.test"), "http://evil.test@sim.test");
}

TEST(Listing, HostileNamesAreEncodedInLinksOnly) {
  Platform platform(R"({"file_names": ["../x y", "a&b"]})");
  const JsonObject entry = firstEntry(platform.get(directoryPath(platform)));
  EXPECT_EQ(stringIn(entry, "name"), "../x y");
  EXPECT_THAT(selfLink(entry), testing::EndsWith("?path=..%2Fx%20y"));
  EXPECT_EQ(platform.get(targetOf(selfLink(entry))).status, 200);
}

TEST(Listing, OfUnreadableAndUnknownBatches) {
  Platform platform;
  const std::string failed = keysOf(jsonIn(platform.get(scoreBatches + "&status=failed")))[0];
  EXPECT_EQ(arrayIn(jsonIn(platform.get("/data/foundation/export/batches/" + failed + "/files")), "data")->size(), 0U);
  EXPECT_EQ(platform.get("/data/foundation/export/batches/none/files").status, 404);
  EXPECT_EQ(platform.get("/data/foundation/export/files/none-1").status, 404);
}

struct RangeCase {
  const char* header;
  int status;
  const char* contentRange;
  std::uint64_t length;
};

class Ranges : public testing::TestWithParam<RangeCase> {};

TEST_P(Ranges, AreServed) {
  Platform platform;
  const std::string file = targetOf(selfLink(firstEntry(platform.get(directoryPath(platform)))));
  const std::string whole = bodyText(platform.get(file));
  ASSERT_EQ(whole.size(), 1000U);
  Headers headers = goodHeaders();
  headers.emplace_back("Range", GetParam().header);
  const Response part = platform.send("GET", file, headers);
  EXPECT_EQ(part.status, GetParam().status);
  EXPECT_EQ(headerOf(part.headers, "Content-Range").value_or(""), GetParam().contentRange);
  if (part.status != 416) {
    EXPECT_EQ(bodyText(part), whole.substr(part.offsetBytes, GetParam().length));
  }
}

INSTANTIATE_TEST_SUITE_P(All, Ranges,
                         testing::Values(RangeCase{"bytes=0-99", 206, "bytes 0-99/1000", 100},
                                         RangeCase{"bytes=997-", 206, "bytes 997-999/1000", 3},
                                         RangeCase{"bytes=990-5000", 206, "bytes 990-999/1000", 10},
                                         RangeCase{"bytes=-7", 206, "bytes 993-999/1000", 7},
                                         RangeCase{"bytes=1000-", 416, "bytes */1000", 0},
                                         RangeCase{"bytes=5-2", 200, "", 1000},
                                         RangeCase{"bytes=0-1,5-6", 200, "", 1000},
                                         RangeCase{"lines=1-2", 200, "", 1000}));

TEST(Files, HeadTellsLengthAndNeedsAPath) {
  Platform platform;
  const std::string directory = directoryPath(platform);
  const std::string file = targetOf(selfLink(firstEntry(platform.get(directory))));
  const Response head = platform.send("HEAD", file, goodHeaders());
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.bodyBytes(), 1000U);
  EXPECT_EQ(headerOf(head.headers, "Accept-Ranges"), "bytes");
  EXPECT_EQ(platform.send("HEAD", directory, goodHeaders()).status, 400);
  EXPECT_EQ(platform.get(directory + "?path=none").status, 404);
}

TEST(Files, PatternIsTheSameFromAnyOffset) {
  const ContentPtr content = patternContent(7, 100);
  std::string whole(100, '\0');
  content->read(0, std::as_writable_bytes(std::span(whole)));
  for (std::size_t offset = 0; offset < 100; ++offset) {
    std::string part(100 - offset, '\0');
    content->read(offset, std::as_writable_bytes(std::span(part)));
    ASSERT_EQ(part, whole.substr(offset)) << offset;
  }
  std::string other(100, '\0');
  patternContent(8, 100)->read(0, std::as_writable_bytes(std::span(other)));
  EXPECT_NE(whole, other);
}

}  // namespace
}  // namespace caiexport::simulator
