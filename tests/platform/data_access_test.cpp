#include "fixture.h"

namespace caiexport::platform {
namespace {

using namespace std::chrono_literals;
using core::Category;
using support::headers;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kFiles = "/data/foundation/export/files";
constexpr const char* kBatchFiles = "/data/foundation/export/batches/B/files";

class ListingTest : public ClientTest {
 protected:
  std::vector<model::RemoteFile> list() {
    std::vector<model::RemoteFile> result;
    deliveries.clear();
    client.listFiles(
        model::BatchId("B"),
        [&](std::vector<model::RemoteFile>&& files) {
          deliveries.push_back(files.size());
          for (model::RemoteFile& file : files) result.push_back(std::move(file));
        },
        stop);
    return result;
  }
  std::vector<std::string> names() {
    std::vector<std::string> result;
    for (const model::RemoteFile& file : list()) result.push_back(file.name);
    return result;
  }
  void answer(const std::string& target, const std::string& body) { transport.on("GET", target).answers(200, body); }
  /// The batch has one dataset file B-1 whose directory is `directory`.
  void oneDirectory(const std::string& directory) {
    answer(kBatchFiles, R"({"data": [{"dataSetFileId": "B-1"}]})");
    answer(std::string(kFiles) + "/B-1", directory);
  }
  std::string refusal() {
    return failureOf(Category::protocol, [&] { list(); }).what();
  }
  std::vector<std::size_t> deliveries;
};

std::string file(const std::string& name, const std::string& length = "\"7\"") {
  return R"({"name": ")" + name + R"(", "length": )" + length + "}";
}

std::string page(const std::string& entries, const std::string& next = "") {
  const std::string links =
      next.empty() ? "" : R"(, "_links": {"next": {"href": ")" + next + R"("}, "page": {"templated": true}})";
  return R"({"data": [)" + entries + R"(], "_page": {"limit": 100, "count": 1})" + links + "}";
}

TEST_F(ListingTest, ReadsASingleFile) {
  answer(
      kBatchFiles,
      R"({"data": [{"dataSetFileId": "B-1", "dataSetViewId": "v", "version": "1.0.0", "created": "1", "isValid": false,
      "_links": {"self": {"href": "https://platform.example:443/data/foundation/export/files/B-1"}}}], "_page": {"limit": 100, "count": 6}})");
  answer("/data/foundation/export/files/B-1",
         R"({"data": [{"name": "part-0.parquet", "length": "2380211",
             "_links": {"self": {"href": "https://platform.example:443/data/foundation/export/files/B-1?path=part-0.parquet"}}}]})");
  const auto files = list();
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(files[0].batchId.value(), "B");
  EXPECT_EQ(files[0].datasetFileId.value(), "B-1");
  EXPECT_EQ(files[0].name, "part-0.parquet");
  EXPECT_EQ(files[0].lengthBytes, 2380211U);
  EXPECT_EQ(files[0].href, "");
}

TEST_F(ListingTest, KeepsAnHrefThatCannotBeDerived) {
  oneDirectory(
      page(R"({"name": "a", "length": 1, "_links": {"self": {"href": "/data/foundation/export/files/X-9?path=a"}}})"));
  EXPECT_EQ(list().at(0).href, "https://platform.example/data/foundation/export/files/X-9?path=a");
}

TEST_F(ListingTest, AnEmptyBatchHandsOnNothing) {
  answer(kBatchFiles, page(""));
  EXPECT_TRUE(list().empty());
  EXPECT_TRUE(deliveries.empty());
}

TEST_F(ListingTest, FollowsOpaqueLinksOnBothLevels) {
  answer(kBatchFiles, page(R"({"dataSetFileId": "B-1"})",
                           "https://platform.example/data/foundation/export/batches/B/files?start=1&limit=1"));
  answer(std::string(kBatchFiles) + "?start=1&limit=1", page(R"({"dataSetFileId": "B-2"})"));
  answer(std::string(kFiles) + "/B-1", page(file("a"), "/data/foundation/export/files/B-1?start=a b"));
  answer(std::string(kFiles) + "/B-1?start=a%20b", page(file("b")));
  answer(std::string(kFiles) + "/B-2", page(file("c")));
  EXPECT_THAT(names(), ElementsAre("a", "b", "c"));
}

TEST_F(ListingTest, HandsOnAHundredAtATime) {
  std::string entries;
  for (int i = 0; i < 250; ++i) entries += (i > 0 ? "," : "") + file("f" + std::to_string(i));
  oneDirectory(page(entries));
  EXPECT_EQ(list().size(), 250U);
  EXPECT_THAT(deliveries, ElementsAre(100U, 100U, 50U));
}

TEST_F(ListingTest, ReadsLengthsOfEveryForm) {
  oneDirectory(page(file("a", "16200000") + "," + file("b", "\"9223372036854775807\"") + "," + file("c", "12.0")));
  const auto files = list();
  EXPECT_EQ(files.at(0).lengthBytes, 16200000U);
  EXPECT_EQ(files.at(1).lengthBytes, 9223372036854775807U);
  EXPECT_EQ(files.at(2).lengthBytes, 12U);
}

TEST_F(ListingTest, NamesALengthThatIsNone) {
  for (const char* length :
       {"\"-1\"", "9223372036854775808", "18446744073709551616", "\"12 B\"", "1.5", "null", "true", "{}", "\"\""}) {
    oneDirectory(page(file("a", length)));
    EXPECT_THAT(refusal(), AllOf(HasSubstr("data[0].length"), HasSubstr("files/B-1"))) << length;
  }
}

TEST_F(ListingTest, LeavesOutMarkersOnly) {
  oneDirectory(page(file("_SUCCESS", "\"0\"") + "," + file(".crc", "0") + "," + file("_data", "1") + "," +
                    file("_started_1", "0") + "," + file("_committed_1", "0") + "," + file("_metadata", "0") + "," +
                    file("part.parquet.CRC", "0") + "," + file("zero.parquet", "0") + "," + file("b.whatever")));
  // What its link leads to is no list: it is a file, and a damaged one.
  answer(std::string(kFiles) + "/B-1?path=zero.parquet", "");
  EXPECT_THAT(names(), ElementsAre("_data", "b.whatever", "zero.parquet"));
}

TEST_F(ListingTest, AnEntryOfLengthNullThatIsATableHasItsTrueLength) {
  oneDirectory(page(file("part-0", "0") + "," + file("part-1", "12")));
  answer(std::string(kFiles) + "/B-1?path=part-0", "PAR1 rows PAR1");
  const auto files = list();
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files.at(1).name, "part-0");
  EXPECT_EQ(files.at(1).lengthBytes, 14U);
  oneDirectory(page(file("part-0", "0")));
  answer(std::string(kFiles) + "/B-1?path=part-0", "<html>");
  EXPECT_THAT(failureOf(Category::verification, [&] { list(); }).what(), HasSubstr("listed with 0 bytes"));
}

/// It may be a folder full of files: to take it for an empty file would lose them.
TEST_F(ListingTest, AnEntryOfLengthNullThatIsNotFoundIsNoEmptyFile) {
  oneDirectory(page(file("_ACP_DATE=2026-04-01", "0") + "," + file("part-1", "12")));
  transport.on("GET", std::string(kFiles) + "/B-1?path=_ACP_DATE%3D2026-04-01")
      .answers(404, R"({"title": "NotFoundError"})");
  EXPECT_THAT(failureOf(Category::notFound, [&] { list(); }).what(), HasSubstr("_ACP_DATE%3D2026-04-01"));
}

TEST_F(ListingTest, FollowsFoldersThatAreEntriesOfLengthNull) {
  oneDirectory(page(file("_ACP_DATE=2026-04-01", "\"0\"") + "," + file("_ACP_DATE=2026-04-02", "0") + "," +
                    file("top.parquet")));
  const std::string first = std::string(kFiles) + "/B-1?path=_ACP_DATE%3D2026-04-01";
  answer(first, page(R"({"name": "part-0.parquet", "length": "7", "_links": {"self": {"href":
      "https://platform.example/data/foundation/export/files/B-1?path=_ACP_DATE%3D2026-04-01%2Fpart-0.parquet"}}})",
                     first + "&start=1"));
  answer(first + "&start=1", page(file("_SUCCESS", "0")));
  answer(std::string(kFiles) + "/B-1?path=_ACP_DATE%3D2026-04-02",
         page(file("part-0.parquet") + "," + file("in", "0")));
  answer(std::string(kFiles) + "/B-1?path=_ACP_DATE%3D2026-04-02%2Fin", page(file("deep")));
  const auto files = list();
  ASSERT_EQ(files.size(), 4U);
  EXPECT_EQ(files.at(0).name, "top.parquet");
  EXPECT_EQ(files.at(1).datasetFileId.value(), "B-1._ACP_DATE=2026-04-01") << "equal names are two files";
  EXPECT_EQ(files.at(2).datasetFileId.value(), "B-1._ACP_DATE=2026-04-02");
  EXPECT_THAT(files.at(1).href, testing::EndsWith("/files/B-1?path=_ACP_DATE%3D2026-04-01%2Fpart-0.parquet"));
  EXPECT_THAT(files.at(2).href, testing::EndsWith("/files/B-1?path=_ACP_DATE%3D2026-04-02%2Fpart-0.parquet"));
  EXPECT_THAT(files.at(3).href, testing::EndsWith("/files/B-1?path=_ACP_DATE%3D2026-04-02%2Fin%2Fdeep"));
}

TEST_F(ListingTest, AFolderThatHoldsItselfEnds) {
  oneDirectory(page(file("in", "0")));
  answer(
      std::string(kFiles) + "/B-1?path=in",
      page(
          R"({"name": "in", "length": "0", "_links": {"self": {"href": "/data/foundation/export/files/B-1?path=in"}}})"));
  EXPECT_TRUE(list().empty());
}

TEST_F(ListingTest, ReadsBareArrays) {
  answer(kBatchFiles, R"([{"dataSetFileId": "B-1"}])");
  answer(std::string(kFiles) + "/B-1", "[" + file("a") + "]");
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(ListingTest, WalksDirectoriesOfDirectories) {
  oneDirectory(page(file("top") +
                    R"(,{"dataSetFileId": "B-1-x"}, {"dataSetFileId": "B-1-y", "_links": {"self": {"href": "/y"}}})"));
  answer(std::string(kFiles) + "/B-1-x", page(R"({"dataSetFileId": "B-1-x-1"}, {"dataSetFileId": "B-1-y"})"));
  answer(std::string(kFiles) + "/B-1-x-1", page(file("deep")));
  answer("/y", page(file("top")));
  const auto files = list();
  ASSERT_EQ(files.size(), 3U);
  EXPECT_EQ(files[0].datasetFileId.value(), "B-1");
  EXPECT_EQ(files[1].name, "deep");
  EXPECT_EQ(files[1].datasetFileId.value(), "B-1-x-1");
  EXPECT_EQ(files[2].name, "top");
  EXPECT_EQ(files[2].datasetFileId.value(), "B-1-y");
}

TEST_F(ListingTest, RefusesCyclesAndBottomlessDepth) {
  oneDirectory(page(R"({"dataSetFileId": "B-1"})"));
  EXPECT_THAT(refusal(), HasSubstr("holds itself"));
  answer(kBatchFiles, page(R"({"dataSetFileId": "d0"})"));
  for (int level = 0; level < 8; ++level) {
    answer(std::string(kFiles) + "/d" + std::to_string(level),
           page(R"({"dataSetFileId": "d)" + std::to_string(level + 1) + "\"}"));
  }
  EXPECT_THAT(refusal(), HasSubstr("deeper than 8 levels"));
}

TEST_F(ListingTest, RefusesListsThatNeverEnd) {
  answer(kBatchFiles, page(R"({"dataSetFileId": "B-1"})", kBatchFiles));
  EXPECT_THAT(refusal(), HasSubstr("loops"));

  oneDirectory(page(file("a"), "/next?1"));
  answer("/next?1", page(file("a"), "/next?2"));
  EXPECT_THAT(refusal(), HasSubstr("repeats earlier ones"));

  oneDirectory(page("", "/next?1"));
  answer("/next?1", page("", "/next?2"));
  answer("/next?2", page("", "/next?3"));
  answer("/next?3", page("", "/next?4"));
  EXPECT_THAT(refusal(), HasSubstr("empty pages"));
}

TEST_F(ListingTest, ToleratesAnEmptyPageAndARepeatedEntry) {
  oneDirectory(page(file("a"), "/next?1"));
  answer("/next?1", page("", "/next?2"));
  answer("/next?2", page(file("a") + "," + file("b"), "/next?3"));
  answer("/next?3", page(file("b")));
  EXPECT_THAT(names(), ElementsAre("a", "b"));
}

TEST_F(ListingTest, RefusesNamesThatLeaveTheFolder) {
  for (const char* name : {"../x", "/etc/passwd", "a/../../b", "a\\u0000b", "manifest.json", "x.part"}) {
    oneDirectory(page(file(name)));
    EXPECT_THAT(refusal(), HasSubstr("data[0].name"));
  }
}

TEST_F(ListingTest, NeverSendsTheTokenToAnotherHost) {
  answer(kBatchFiles,
         page(R"({"dataSetFileId": "B-1", "_links": {"self": {"href": "https://evil.example/files/B-1"}}})"));
  EXPECT_THAT(refusal(), AllOf(HasSubstr("https://evil.example"), HasSubstr("https://platform.example")));
  answer(kBatchFiles, page(R"({"dataSetFileId": "B-1"})", "http://platform.example/x"));
  EXPECT_THAT(refusal(), HasSubstr("http://platform.example"));
  oneDirectory(page(R"({"name": "a", "length": 1, "_links": {"self": {"href": "https://platform.example:8443/a"}}})"));
  EXPECT_THAT(refusal(), HasSubstr("https://platform.example:8443"));
  for (const net::HttpRequest& request : transport.requests()) {
    EXPECT_TRUE(request.url.starts_with("https://platform.example/")) << request.url;
  }
}

TEST_F(ListingTest, NamesEntriesItCannotUse) {
  oneDirectory(page(R"({"length": "1"})"));
  EXPECT_THAT(refusal(), HasSubstr("data[0].dataSetFileId is missing"));
  oneDirectory(R"({"_page": {}})");
  EXPECT_THAT(refusal(), HasSubstr("data is missing"));
  oneDirectory("<html>");
  EXPECT_THAT(refusal(), HasSubstr("not JSON"));
}

TEST_F(ListingTest, TakesAFileThatCameInPlaceOfItsDirectory) {
  oneDirectory("PAR1....PAR1");
  const auto files = list();
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(files[0].name, "B-1.parquet");
  EXPECT_EQ(files[0].lengthBytes, 12U);
  EXPECT_EQ(files[0].href, "https://platform.example/data/foundation/export/files/B-1");
}

TEST_F(ListingTest, AMissingBatchIsNotFound) {
  transport.on("GET", kBatchFiles).answers(404, R"({"title": "NotFoundError"})");
  failureOf(Category::notFound, [&] { list(); });
}

// --- fetching

struct CollectingSink final : model::ByteSink {
  void begin(std::uint64_t from, std::optional<std::uint64_t> fileBytes) override {
    ++begins;
    offset = from;
    total = fileBytes;
  }
  void write(std::span<const std::byte> data) override {
    bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
  }
  int begins = 0;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> total;
  std::string bytes;
};

class FetchTest : public ClientTest {
 protected:
  static constexpr const char* kTarget = "/data/foundation/export/files/B-1?path=a%20%26b.parquet";
  model::RemoteFile file{.batchId = model::BatchId("B"),
                         .datasetFileId = model::DatasetFileId("B-1"),
                         .name = "a &b.parquet",
                         .lengthBytes = 10};
  CollectingSink sink;
  support::FakeTransport::Stub& stub() { return transport.on("GET", kTarget); }
  void fetch(std::uint64_t first = 0, std::uint64_t end = 10) { client.fetchFile(file, {first, end}, sink, stop); }
  std::string refusal(Category category, std::uint64_t first = 0, std::uint64_t end = 10) {
    return failureOf(category, [&] { fetch(first, end); }).what();
  }
  support::Reply part(const std::string& range, const std::string& body) {
    return support::reply(206, body, headers({{"Content-Range", range}}));
  }
};

TEST_F(FetchTest, AsksForAWholeFileWithoutRange) {
  stub().answers(200, "0123456789");
  fetch();
  const net::HttpRequest request = transport.requests().at(0);
  EXPECT_FALSE(request.headers.get("Range"));
  EXPECT_EQ(request.headers.get("Accept"), "application/json, application/octet-stream");
  EXPECT_EQ(sink.bytes, "0123456789");
  EXPECT_EQ(sink.offset, 0U);
  EXPECT_EQ(sink.total, 10U);
}

TEST_F(FetchTest, AsksForARange) {
  stub().answers(part("bytes 3-5/10", "345"));
  fetch(3, 6);
  EXPECT_EQ(transport.requests().at(0).headers.get("Range"), "bytes=3-5");
  EXPECT_EQ(sink.offset, 3U);
  EXPECT_EQ(sink.total, 10U);
  EXPECT_EQ(sink.bytes, "345");
}

TEST_F(FetchTest, TellsTheRangeThatReallyCame) {
  stub().answers(part("bytes 2-3/*", "23")).answers(200, "0123456789");
  fetch(3, 6);
  EXPECT_EQ(sink.offset, 2U);
  EXPECT_EQ(sink.total, std::nullopt);
  fetch(3, 6);
  EXPECT_EQ(sink.offset, 0U);
  EXPECT_EQ(sink.bytes, "230123456789");
}

TEST_F(FetchTest, FetchesFromAStoredLinkOfTheSameOriginOnly) {
  file.href = "https://platform.example:443/elsewhere?path=x";
  transport.on("GET", "/elsewhere?path=x").answers(200, "0123456789");
  fetch();
  file.href = "https://evil.example/x";
  EXPECT_THAT(refusal(Category::protocol),
              AllOf(HasSubstr("https://evil.example"), HasSubstr("https://platform.example")));
  EXPECT_EQ(transport.requestCount(), 1U);
}

TEST_F(FetchTest, FetchesAnEmptyFile) {
  file.lengthBytes = 0;
  stub().answers(200, "");
  fetch(0, 0);
  EXPECT_EQ(sink.begins, 1);
  EXPECT_FALSE(transport.requests().at(0).headers.get("Range"));
}

TEST_F(FetchTest, NoticesAnotherLength) {
  stub()
      .answers(part("bytes 3-5/11", "345"))
      .answers(part("bytes 8-10/*", "89x"))
      .answers(200, "0123456789X")
      .answers(200, "012345678");
  EXPECT_THAT(refusal(Category::verification, 3, 6), HasSubstr("has 11 bytes there, but 10 were listed"));
  refusal(Category::verification, 8, 10);
  refusal(Category::verification);
  refusal(Category::verification);
  EXPECT_EQ(sink.bytes, "");
}

TEST_F(FetchTest, NoticesALongerOrShorterBody) {
  auto undeclared = [](support::Reply reply) {
    reply.declaresLength = false;
    return reply;
  };
  stub().answers(part("bytes 3-5/10", "3456")).answers(undeclared(part("bytes 3-5/10", "3456")));
  refusal(Category::protocol, 3, 6);
  refusal(Category::protocol, 3, 6);
  stub().answers(undeclared(support::reply(200, "0123456789X"))).answers(undeclared(support::reply(200, "01234")));
  refusal(Category::verification);
  const auto error = failureOf<core::TransientError>(Category::unavailable, [&] { fetch(); });
  EXPECT_THAT(error.what(), HasSubstr("ended after 5 of 10 bytes"));
}

TEST_F(FetchTest, RefusesRangesItCannotUnderstand) {
  for (const char* range : {"", "bytes */10", "bytes 5-3/10", "lines 3-5/10", "bytes 3-5"}) {
    stub().answers(part(range, "345"));
    EXPECT_THAT(refusal(Category::protocol, 3, 6), HasSubstr("Content-Range")) << range;
  }
  stub().answers(support::reply(200, "0123456789", headers({{"Content-Encoding", "gzip"}})));
  EXPECT_THAT(refusal(Category::protocol), HasSubstr("gzip"));
  stub().answers(204);
  refusal(Category::protocol);
  EXPECT_EQ(sink.begins, 0);
}

TEST_F(FetchTest, MapsErrorAnswersWithoutTouchingTheSink) {
  stub()
      .answers(416, "", headers({{"Content-Range", "bytes */7"}}))
      .answers(404, R"({"title": "NotFound"})")
      .answers(403)
      .answers(302, "", headers({{"Location", "https://evil.example/"}}));
  refusal(Category::verification, 3, 6);
  EXPECT_THAT(refusal(Category::notFound), HasSubstr("cannot fetch a &b.parquet"));
  refusal(Category::permission);
  EXPECT_THAT(refusal(Category::protocol), HasSubstr("https://evil.example"));
  EXPECT_EQ(sink.begins, 0);
}

TEST_F(FetchTest, TriesOnceAndLetsTheCallerRepeat) {
  stub().answers(503, "", headers({{"Retry-After", "4"}})).breaks();
  support::Reply cut = support::reply(200, "0123456789");
  cut.cutAfter = 4;
  stub().answers(cut);
  auto error = failureOf<core::TransientError>(Category::unavailable, [&] { fetch(); });
  EXPECT_EQ(error.cause().retryAfter, core::Duration(4s));
  EXPECT_TRUE(error.cause().throttled);
  failureOf<core::TransientError>(Category::unavailable, [&] { fetch(); });
  failureOf<core::TransientError>(Category::unavailable, [&] { fetch(); });
  EXPECT_EQ(sink.bytes, "0123");
  EXPECT_TRUE(clock.sleeps().empty());
}

TEST_F(FetchTest, RenewsTheToken) {
  stub().answers(401).answers(200, "0123456789");
  fetch();
  EXPECT_EQ(transport.requests().at(1).headers.get("Authorization"), "Bearer token-2");
  EXPECT_EQ(sink.begins, 1);
}

TEST_F(FetchTest, LetsTheSinkEndIt) {
  struct FullDisk final : model::ByteSink {
    void begin(std::uint64_t, std::optional<std::uint64_t>) override {}
    void write(std::span<const std::byte>) override { throw core::Error(Category::io, "disk full"); }
  } full;
  stub().answers(200, "0123456789");
  EXPECT_STREQ(failureOf(Category::io, [&] { client.fetchFile(file, {0, 10}, full, stop); }).what(), "disk full");
}

TEST_F(FetchTest, RefusesARangeOutsideOfTheFile) {
  refusal(Category::internal, 5, 5);
  refusal(Category::internal, 5, 11);
  EXPECT_EQ(transport.requestCount(), 0U);
}

}  // namespace
}  // namespace caiexport::platform
