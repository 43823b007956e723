#include <gmock/gmock.h>

#include "parquet_bytes.h"
#include "reader_fixture.h"

namespace caiexport::test {
namespace {

using core::Category;
using core::Error;
using reader::Depth;
using reader::FileFacts;
using ::testing::HasSubstr;
using ::testing::Not;

class InspectTest : public ReaderTest {
 protected:
  fs::path thousand(const std::string& name) {
    return parquet(name, "SELECT i, 'text ' || i AS t, [i, i + 1] AS l FROM range(1000) r(i)", ", ROW_GROUP_SIZE 256");
  }

  /// Both depths must refuse, by name and without a crash.
  std::string refusal(const fs::path& path) {
    const Error footer = errorOf([&] { reader().inspect(path, Depth::footer); });
    const Error full = errorOf([&] { reader().inspect(path, Depth::full); });
    EXPECT_EQ(footer.category(), Category::verification) << footer.what();
    EXPECT_EQ(full.category(), Category::verification) << full.what();
    EXPECT_THAT(footer.what(), HasSubstr(path.filename().string()));
    EXPECT_THAT(footer.what() + std::string(full.what()), Not(HasSubstr("/dev/fd")));
    EXPECT_THAT(footer.hint(), HasSubstr("again"));
    return footer.what();
  }
};

TEST_F(InspectTest, TellsRowsAndGroups) {
  const fs::path path = thousand("a.parquet");
  for (const Depth depth : {Depth::footer, Depth::full}) {
    const FileFacts facts = reader().inspect(path, depth);
    EXPECT_EQ(facts.rows, 1000U);
    EXPECT_GE(facts.rowGroups, 1U);
    EXPECT_EQ(facts.bytes, fs::file_size(path));
  }
}

TEST_F(InspectTest, ErrorsOfTheModuleAreErrorsOfTheProgram) {
  const fs::path path = thousand("a.parquet");
  reader().inspect(path, Depth::footer);
  // Caught by its type, in another library than it was thrown in.
  EXPECT_THROW(reader().inspect(folder_ / "absent", Depth::footer), Error);
  std::stop_source source;
  source.request_stop();
  EXPECT_THROW(reader().inspect(path, Depth::full, source.get_token()), core::Interrupted);
}

TEST_F(InspectTest, MissingFileAndFolderAreFailuresOfTheDisk) {
  EXPECT_EQ(errorOf([&] { reader().inspect(folder_ / "absent.parquet", Depth::footer); }).category(), Category::io);
  EXPECT_EQ(errorOf([&] { reader().inspect(folder_.path(), Depth::footer); }).category(), Category::io);
}

TEST_F(InspectTest, FilesOneAfterAnother) {
  // Of one size and one second: nothing of the first may be taken for the next.
  for (int round = 0; round < 20; ++round) {
    const std::string rows = std::to_string(100 + round);
    const fs::path path = parquet("f.parquet", "SELECT i AS a FROM range(" + rows + ") r(i)");
    EXPECT_EQ(reader().inspect(path, Depth::footer).rows, 100U + round);
    EXPECT_EQ(reader().inspect(path, Depth::full).rows, 100U + round);
    refusal(file("broken", content(path).substr(0, 50)));
  }
}

TEST_F(InspectTest, FrameOfTheFile) {
  const std::string good = content(thousand("good.parquet"));
  EXPECT_THAT(refusal(file("empty", "")), HasSubstr("empty"));
  EXPECT_THAT(refusal(file("tiny", "PAR1PAR1")), HasSubstr("8 bytes"));
  EXPECT_THAT(refusal(file("json", "{\"error\": \"not a parquet file at all\"}")), HasSubstr("begin with PAR1"));
  std::string head = good;
  head[0] = 'X';
  EXPECT_THAT(refusal(file("head", head)), HasSubstr("begin with PAR1"));
  EXPECT_THAT(refusal(file("cut", good.substr(0, good.size() - 5))), HasSubstr("end"));
  EXPECT_THAT(refusal(file("half", good.substr(0, good.size() / 2))), HasSubstr("end"));
  std::string encrypted = good;
  encrypted.replace(encrypted.size() - 4, 4, "PARE");
  EXPECT_THAT(refusal(file("encrypted", encrypted)), HasSubstr("encrypted"));
}

TEST_F(InspectTest, BeforeTheModuleIsLoadedTheWordsAreTheSame) {
  const fs::path good = thousand("good.parquet");
  reader().inspect(good, Depth::footer);
  const std::string bytes = content(good);
  fs::create_symlink(file("text", "no table"), folder_ / "link");
  for (const fs::path& path : {file("empty", ""), file("json", R"({"error": "none"})"), folder_ / "link",
                               file("half", bytes.substr(0, bytes.size() / 2)), folder_ / "absent", folder_.path()}) {
    const Error loaded = errorOf([&] { reader().inspect(path, Depth::full); });
    const Error before = errorOf([&] { reader::openReader(settings_)->inspect(path, Depth::full); });
    EXPECT_EQ(before.category(), loaded.category()) << path;
    EXPECT_STREQ(before.what(), loaded.what());
    EXPECT_EQ(before.hint(), loaded.hint());
  }
}

TEST_F(InspectTest, AbsurdFooterLengths) {
  const std::string good = content(thousand("good.parquet"));
  const auto withLength = [&good](std::uint32_t length) {
    std::string bytes = good;
    bytes.replace(bytes.size() - 8, 4, plain<std::uint32_t>({length}));
    return bytes;
  };
  const auto size = static_cast<std::uint32_t>(good.size());
  for (const std::uint32_t length : {0U, 1U, 7U, size - 12U, size - 11U, size, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
    refusal(file("length-" + std::to_string(length), withLength(length)));
  }
}

TEST_F(InspectTest, FooterThatContradictsItself) {
  const std::vector<RawColumn> columns{{"score", PhysicalType::real, plain<double>({1, 2, 3})}};
  EXPECT_EQ(reader().inspect(file("true", parquetBytes(columns, 3)), Depth::full).rows, 3U);
  EXPECT_THAT(refusal(file("rows", parquetBytes(columns, 3, {.fileRows = 4}))), HasSubstr("4 rows"));
  EXPECT_THAT(refusal(file("beyond", parquetBytes(columns, 3, {.chunkBytes = 1 << 20}))), HasSubstr("beyond its end"));
}

TEST_F(InspectTest, FullReadsWhatTheFooterOnlyPromises) {
  const std::vector<RawColumn> columns{{"score", PhysicalType::real, plain<double>({1, 2, 3})}};
  std::string bytes = parquetBytes(columns, 3);
  // The page's header: right after the magic number.
  bytes.replace(4, 4, "\xFF\xFF\xFF\xFF");
  const fs::path path = file("page", bytes);
  EXPECT_EQ(reader().inspect(path, Depth::footer).rows, 3U);
  const Error error = errorOf([&] { reader().inspect(path, Depth::full); });
  EXPECT_EQ(error.category(), Category::verification);
  EXPECT_THAT(error.what(), HasSubstr("page"));
}

TEST_F(InspectTest, NoChangedByteCrashes) {
  const std::string good =
      content(parquet("good.parquet", "SELECT i, 'text ' || i AS t, [i] AS l FROM range(40) r(i)"));
  std::size_t refused = 0;
  std::size_t tried = 0;
  for (std::size_t at = 0; at < good.size(); at += 1 + good.size() / 120) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x55);
    ++tried;
    try {
      reader().inspect(file("changed", bytes), Depth::full);
    } catch (const Error& error) {
      // A length that became absurd may also end at the memory limit.
      EXPECT_TRUE(error.category() == Category::verification || error.category() == Category::io) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, tried / 4);
}

TEST_F(InspectTest, NoCutCrashes) {
  const std::string good = content(parquet("good.parquet", "SELECT i, 'text ' || i AS t FROM range(40) r(i)"));
  for (std::size_t size = 0; size < good.size(); size += 1 + good.size() / 60) {
    refusal(file("cut", good.substr(0, size)));
  }
}

TEST_F(InspectTest, NoRowsIsAFile) {
  EXPECT_EQ(reader().inspect(parquet("none", "SELECT 1 AS a WHERE false"), Depth::full).rows, 0U);
  const fs::path fixtures = CAIEXPORT_FIXTURES;
  const FileFacts facts = reader().inspect(fixtures / "arrow_rs_empty.snappy.parquet", Depth::full);
  EXPECT_EQ(facts.rows, 0U);
  EXPECT_EQ(facts.rowGroups, 0U);
  EXPECT_EQ(reader().inspect(fixtures / "arrow_rs.snappy.parquet", Depth::full).rows, 40U);
}

TEST_F(InspectTest, NamesAreNamesNotPatterns) {
  const std::vector<std::string> names{"plain.parquet",    "with space",
                                       "quo'te\"d",        "star*",
                                       "quest?ion",        "[a]",
                                       "a[b-c]d",          "{x,y}",
                                       "back\\slash",      "back\\sl*sh",
                                       "größe-表.parquet", "**",
                                       "per%cent",         "dataset=x/y=1.parquet",
                                       "semi;colon--"};
  for (const std::string& name : names) {
    // Beside each, a file that the name would match as a pattern.
    std::string other = name;
    for (char& letter : other) {
      if (letter == '*' || letter == '?') letter = 'Z';
    }
    if (other != name) parquet("dir [x] *y/" + other, "SELECT 1 AS a FROM range(99)");
    const fs::path path = parquet("dir [x] *y/" + name, "SELECT 1 AS a FROM range(7)");
    EXPECT_EQ(reader().inspect(path, Depth::full).rows, 7U) << name;
    EXPECT_EQ(open({path})->rowCount(), 7U) << name;
    EXPECT_EQ(open({path})->table({}, {}).rows.size(), 7U) << name;
  }
}

TEST_F(InspectTest, LinksAreFollowed) {
  const fs::path path = thousand("real.parquet");
  fs::create_symlink(path, folder_ / "link");
  EXPECT_EQ(reader().inspect(folder_ / "link", Depth::full).rows, 1000U);
  EXPECT_EQ(open({folder_ / "link"})->rowCount(), 1000U);
}

TEST_F(InspectTest, RelativePaths) {
  thousand("real.parquet");
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  const FileFacts facts = reader().inspect("real.parquet", Depth::full);
  fs::current_path(before);
  EXPECT_EQ(facts.rows, 1000U);
}

}  // namespace
}  // namespace caiexport::test
