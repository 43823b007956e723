/// Manifests, what `read` is pointed at, and `verify`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "caiexport/cli/options.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/engine/manifest.h"
#include "caiexport/transfer/downloader.h"
#include "cli/commands/input_files.h"
#include "cli/commands/reading.h"
#include "cli/commands/verify.h"
#include "cli/config/config.h"
#include "job_fixture.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;
using core::Category;
using testing::ElementsAre;
using testing::HasSubstr;

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  core::writeFileAtomically(core::diskFileSystem(), file, text);
}

std::string manifestOf(const std::string& batch, const std::vector<std::pair<std::string, std::string>>& files,
                       const fs::path& folder) {
  std::string entries;
  for (const auto& [name, content] : files) {
    write(folder / name, content);
    entries += (entries.empty() ? "" : ", ") +
               ("{\"name\": \"" + name + "\", \"dataset_file_id\": \"f\", \"bytes\": ") +
               std::to_string(content.size()) + ", \"sha256\": \"" + transfer::sha256OfFile(folder / name, {}) +
               "\", \"records\": null}";
  }
  return R"({"job": 1, "dataset_id": "ds1", "batch_id": ")" + batch + R"(", "records": null, "bytes": 1, "files": [)" +
         entries + "]}";
}

void makeBatch(const fs::path& folder, const std::string& batch,
               const std::vector<std::pair<std::string, std::string>>& files) {
  write(folder / engine::kManifestName, manifestOf(batch, files, folder));
}

template <class Call>
std::optional<Category> categoryOf(Call call) {
  try {
    call();
  } catch (const core::Error& error) {
    return error.category();
  }
  return std::nullopt;
}

TEST(ManifestFile, IsReadBack) {
  const support::TempDirectory folder;
  makeBatch(folder.path(), "b1", {{"a.parquet", "aa"}, {"f2/a.parquet", "bbb"}});
  const engine::Manifest manifest = engine::readManifest(folder.path());
  EXPECT_EQ(manifest.batchId, "b1");
  EXPECT_EQ(manifest.job, 1);
  ASSERT_EQ(manifest.files.size(), 2U);
  EXPECT_EQ(manifest.files[1].path, "f2/a.parquet");
  EXPECT_EQ(manifest.files[1].bytes, 3U);
  EXPECT_FALSE(manifest.files[1].records);
}

TEST(ManifestFile, ThatIsBrokenIsNamed) {
  const support::TempDirectory folder;
  for (const char* text :
       {"", "not json", "[]", "{}", R"({"files": [3]})", R"({"files": [{"name": "a"}]})",
        R"({"files": [{"name": "../a", "bytes": 1}]})", R"({"files": [{"name": "/etc/passwd", "bytes": 1}]})",
        R"({"files": [{"name": "", "bytes": 1}]})", R"({"files": [{"name": "a", "bytes": -1}]})",
        R"({"files": [{"name": "a", "bytes": "1"}]})"}) {
    write(folder / engine::kManifestName, text);
    EXPECT_EQ(categoryOf([&] { engine::readManifest(folder.path()); }), Category::verification) << text;
  }
}

class InputTest : public testing::Test {
 protected:
  InputTest() { options_.add("database", jobs_.file().string()); }

  InputSet find(const std::vector<std::string>& arguments, Batches batches = Batches::all) {
    Configuration configuration(options_, environment_);
    return InputFinder(configuration, batches).find(arguments);
  }

  static std::vector<std::string> names(const InputSet& set) {
    std::vector<std::string> result;
    for (const reader::InputFile& file : set.files)
      result.push_back(file.batchId + ":" + file.path.filename().string());
    return result;
  }

  support::TempDirectory folder_;
  JobFixture jobs_;
  ParsedOptions options_;
  Environment environment_{[](std::string_view) { return std::nullopt; }};
};

TEST_F(InputTest, AFolderOfBatchesIsReadByItsManifests) {
  makeBatch(folder_ / "ds1/b1", "b1", {{"a.parquet", "1"}, {"notes.txt", "x"}});
  makeBatch(folder_ / "ds1/b2", "b2", {{"a.parquet", "2"}});
  makeBatch(folder_ / "ds1/.replaced/b0", "b0", {{"a.parquet", "0"}});
  write(folder_ / "ds1/b2/late.parquet.part", "x");
  for (const fs::path& place : {folder_.path(), folder_ / "ds1"}) {
    const InputSet set = find({place.string()});
    EXPECT_THAT(names(set), ElementsAre("b1:a.parquet", "b2:a.parquet"));
    EXPECT_THAT(set.notices, testing::Contains(HasSubstr("2 batches are read as one set: b1, b2")));
  }
  EXPECT_THAT(find({(folder_ / "ds1/b1").string()}).notices,
              ElementsAre(HasSubstr("left out, being no Parquet: notes.txt")));
}

TEST_F(InputTest, TheNewestBatchIsTheOneThatIsNotReplacedAndYoungest) {
  const auto batch = [&](const std::string& id, const std::string& created, const std::string& replaces) {
    makeBatch(folder_ / "ds1" / id, id, {{"a.parquet", id}});
    std::string text = core::readFile(folder_ / "ds1" / id / engine::kManifestName);
    text.replace(0, 1, "{\"batch_created\": \"" + created + "\", \"replaces\": [" + replaces + "], ");
    write(folder_ / "ds1" / id / engine::kManifestName, text);
  };
  batch("b1", "2026-01-03T00:00:00Z", "");
  batch("b2", "2026-01-02T00:00:00Z", "\"b1\"");
  batch("b0", "2026-01-01T00:00:00Z", "");
  const InputSet set = find({(folder_ / "ds1").string()}, Batches::newest);
  EXPECT_THAT(names(set), ElementsAre("b2:a.parquet"));
  EXPECT_THAT(set.notices, ElementsAre(HasSubstr("of 2 batches in")));
  makeBatch(folder_ / "ds2/b4", "b4", {{"a.parquet", "1"}});
  makeBatch(folder_ / "ds2/b5", "b5", {{"a.parquet", "1"}});
  EXPECT_EQ(categoryOf([&] { find({(folder_ / "ds2").string()}, Batches::newest); }), Category::usage);
}

TEST_F(InputTest, ATableIsKnownByItsContentWhateverItsEnding) {
  const std::string table = "PAR1 rows PAR1";
  makeBatch(folder_ / "b1", "b1",
            {{"a.parquet", table},
             {"b.PARQUET", table},
             {"c.parq", table},
             {"d", table},
             {"_metadata", table},
             {"_committed_1", "{}"},
             {".a.crc", "x"},
             {"e.csv", "1,2"},
             {"f.txt", std::string("PAR1\0\0\0\0PAR1", 12)},
             {"g.txt", "PAR1 is what a table begins and ends with: PAR1"}});
  const InputSet set = find({(folder_ / "b1").string()});
  EXPECT_THAT(names(set), ElementsAre("b1:a.parquet", "b1:b.PARQUET", "b1:c.parq", "b1:d", "b1:f.txt"));
  EXPECT_THAT(set.notices, ElementsAre(testing::EndsWith("2 files are left out, being no Parquet: e.csv, g.txt")));
  fs::remove(folder_ / "b1" / engine::kManifestName);
  EXPECT_THAT(names(find({(folder_ / "b1").string()})),
              ElementsAre(":a.parquet", ":b.PARQUET", ":c.parq", ":d", ":f.txt"));
}

TEST_F(InputTest, APartThatNoCommitMarkerNamesIsNotReadTwice) {
  const std::string table = "PAR1 rows PAR1";
  const std::string marker = R"({"added": ["part-0-b.parquet", "part-1.parquet"], "removed": ["part-1-old.parquet"]})";
  makeBatch(folder_ / "b1", "b1",
            {{"part-0-a.parquet", table},
             {"part-0-b.parquet", table},
             {"part-1.parquet", table},
             {"part-1-old.parquet", table},
             {"_committed_77", marker}});
  const InputSet set = find({(folder_ / "b1").string()});
  EXPECT_THAT(names(set), ElementsAre("b1:part-0-b.parquet", "b1:part-1.parquet"));
  EXPECT_THAT(set.notices, ElementsAre(HasSubstr("part-0-a.parquet, part-1-old.parquet")));
}

/// Folders of a batch are laid into one; names that another one bears lie a level below.
TEST_F(InputTest, ACommitMarkerSpeaksOfItsOwnFolderAlone) {
  const std::string table = "PAR1 rows PAR1";
  const fs::path batch = folder_ / "b1";
  std::string entries;
  const auto add = [&](const std::string& path, const std::string& from, const std::string& text) {
    write(batch / path, text);
    entries += std::string(entries.empty() ? "" : ",") + R"({"name": ")" + path + R"(", "dataset_file_id": ")" + from +
               R"(", "bytes": )" + std::to_string(text.size()) + "}";
  };
  add("part-0.parquet", "D1.d", table);
  add("_committed_1", "D1.d", R"({"added": ["part-0.parquet"]})");
  add("part-2.parquet", "D1.e", table);
  add("D1.e/part-0.parquet", "D1.e", table);
  add("D1.e/_committed_1", "D1.e", R"({"added": ["part-2.parquet"]})");
  add("part-9.parquet", "D1.f", table);
  write(batch / engine::kManifestName,
        R"({"job": 0, "dataset_id": "ds", "batch_id": "b1", "files": [)" + entries + "]}");
  const InputSet set = find({batch.string()});
  EXPECT_THAT(names(set), ElementsAre("b1:part-0.parquet", "b1:part-2.parquet", "b1:part-9.parquet"));
  EXPECT_THAT(set.notices, ElementsAre(testing::EndsWith("because the batch's commit markers do not name "
                                                         "them: part-0.parquet")));
}

TEST_F(InputTest, AMarkerThatSaysNothingTakesNothingAway) {
  for (const std::string marker : {"", "x", "[]", "[[[[", "{}", R"({"added": 3})",
                                   R"({"added": ["elsewhere.parquet"]})", R"({"added": [["part-0.parquet"]]})"}) {
    makeBatch(folder_ / "b1", "b1",
              {{"part-0.parquet", "PAR1"}, {"part-1.parquet", "PAR1"}, {"_committed_77", marker}});
    EXPECT_EQ(find({(folder_ / "b1").string()}).files.size(), 2U) << marker;
  }
}

TEST_F(InputTest, AFolderWithoutManifestsIsReadByEnding) {
  write(folder_ / "x/b.parquet", "1");
  write(folder_ / "x/a.parquet", "1");
  write(folder_ / "x/.hidden.parquet", "1");
  write(folder_ / "x/c.parquet.part", "1");
  write(folder_ / "x/readme.txt", "1");
  EXPECT_THAT(names(find({(folder_ / "x").string()})), ElementsAre(":a.parquet", ":b.parquet"));
}

TEST_F(InputTest, PartsOfAJobThatHasNotEndedAreNotReadTwice) {
  write(folder_ / "part-0.parquet", "PAR1 rows PAR1");
  write(folder_ / "_ACP_DATE=2026-04-01/part-1.parquet", "PAR1 rows PAR1");
  write(folder_ / "_temporary/0/attempt_1/part-0.parquet", "PAR1 rows PAR1");
  write(folder_ / "_delta_log/00000000000000000010.checkpoint.parquet", "PAR1 rows PAR1");
  const InputSet set = find({folder_.path().string()});
  EXPECT_THAT(names(set), ElementsAre(":part-1.parquet", ":part-0.parquet"));
  EXPECT_THAT(set.notices, testing::UnorderedElementsAre(HasSubstr("_temporary is left out"), HasSubstr("_delta_log")));
}

TEST_F(InputTest, NothingToReadIsNotFound) {
  fs::create_directories(folder_ / "empty");
  EXPECT_EQ(categoryOf([&] { find({(folder_ / "empty").string()}); }), Category::notFound);
  EXPECT_EQ(categoryOf([&] { find({(folder_ / "none").string()}); }), Category::notFound);
  EXPECT_EQ(categoryOf([&] { find({"77"}); }), Category::notFound);
  EXPECT_EQ(categoryOf([&] { find({}); }), Category::usage);
}

TEST_F(InputTest, AJobIsReadFromItsRecord) {
  const model::JobId job = jobs_.finishedJob();
  const InputSet set = find({std::to_string(model::numberOf(job))});
  EXPECT_THAT(names(set), ElementsAre("b1:part-0.parquet", "b1:part-1.parquet"));
  EXPECT_EQ(set.files[0].path, "/out/ds1/b1/part-0.parquet");
  EXPECT_EQ(set.files[0].batchCreated, jobs_.clock().now());
  EXPECT_EQ(set.description, "job 1");
}

TEST_F(InputTest, AJobWithoutFilesIsNotFound) {
  const model::JobId job = jobs_.freshSegmentJob();
  EXPECT_EQ(categoryOf([&] { find({std::to_string(model::numberOf(job))}); }), Category::notFound);
}

TEST_F(InputTest, WhatIsNamedTwiceIsReadOnce) {
  makeBatch(folder_ / "b1", "b1", {{"a.parquet", "1"}});
  const std::string place = (folder_ / "b1").string();
  EXPECT_EQ(find({place, place, place + "/a.parquet"}).files.size(), 1U);
}

TEST_F(InputTest, WhatHasASecondNameOrIsACopyOfABatchIsReadOnce) {
  makeBatch(folder_ / "ds1/b1", "b1", {{"a.parquet", "1"}});
  const std::string batch = (folder_ / "ds1/b1").string();
  fs::create_hard_link(folder_ / "ds1/b1/a.parquet", folder_ / "second.parquet");
  EXPECT_EQ(find({batch, (folder_ / "second.parquet").string()}).files.size(), 1U);
  EXPECT_EQ(find({(folder_ / "second.parquet").string(), batch}).files.size(), 1U);
  fs::copy(folder_ / "ds1/b1", folder_ / "copy", fs::copy_options::recursive);
  const InputSet set = find({batch, (folder_ / "copy").string()});
  EXPECT_THAT(names(set), ElementsAre("b1:a.parquet"));
  EXPECT_THAT(set.notices, ElementsAre(HasSubstr("1 file is left out, because the same files of the same batches")));
}

TEST_F(InputTest, TheRecordTellsWhichBatchesAreReplaced) {
  const model::JobId job = jobs_.create(JobFixture::datasetRequest(folder_.path()));
  ASSERT_EQ(model::numberOf(job), 1);
  jobs_.store().beginAttempt(job, model::StepName::selectBatches);
  const core::TimePoint now = jobs_.clock().now();
  jobs_.store().finishStep(job, model::StepName::selectBatches,
                           {.batches = std::vector<model::Batch>{
                                {.id = model::BatchId("b2"), .created = now, .predecessors = {model::BatchId("b1")}},
                                {.id = model::BatchId("b1"), .created = now - std::chrono::hours(1)},
                                {.id = model::BatchId("b0"), .created = now + std::chrono::hours(1)}}});
  for (const char* batch : {"b0", "b1", "b2"}) makeBatch(folder_ / "ds1" / batch, batch, {{"a.parquet", batch}});
  const InputSet set = find({folder_.path().string()});
  EXPECT_THAT(names(set), ElementsAre("b2:a.parquet", "b0:a.parquet"));
  EXPECT_THAT(set.notices, testing::Contains(HasSubstr("batch b1 is left out")));
}

class VerifyTest : public testing::Test {
 protected:
  VerifyTest() {
    for (const char* name : {"a", "b", "sub/c"}) {
      write(folder_ / name, std::string("content of ") + name);
      batch_.files.push_back({.path = name,
                              .bytes = fs::file_size(folder_ / name),
                              .sha256 = transfer::sha256OfFile(folder_ / name, {}),
                              .records = std::nullopt});
    }
    write(folder_ / engine::kManifestName, "{}");
    batch_.folder = folder_.path();
  }

  std::vector<std::string> problems() {
    VerifyCheck check([]() -> std::unique_ptr<reader::ParquetReader> { return nullptr; }, [](std::uint64_t) {}, {});
    check.check(batch_);
    std::vector<std::string> found;
    for (const Problem& problem : check.report().problems) {
      found.push_back(std::string(nameOf(problem.difference)) + " " +
                      problem.path.lexically_relative(folder_.path()).string());
    }
    return found;
  }

  support::TempDirectory folder_;
  ExpectedBatch batch_{.folder = {}, .batchId = "b1", .files = {}, .records = {}};
};

TEST_F(VerifyTest, FindsNothingWhereAllIsAsItWas) {
  write(folder_ / ".hidden", "x");
  write(folder_ / "late.part", "x");
  EXPECT_THAT(problems(), testing::IsEmpty());
}

TEST_F(VerifyTest, NamesMissingChangedAndForeignFiles) {
  fs::remove(folder_ / "a");
  write(folder_ / "b", "contenT of b");
  write(folder_ / "sub/c", "longer than it was before");
  write(folder_ / "d", "x");
  write(folder_ / "sub/e", "x");
  EXPECT_THAT(problems(), ElementsAre("missing a", "changed b", "changed sub/c", "foreign d", "foreign sub/e"));
}

TEST_F(VerifyTest, RowsThatWereCountedOfTheSameBytesAreNotCountedAgain) {
  for (ExpectedFile& file : batch_.files) {
    file.records = 5;
    file.id = 1;
  }
  batch_.records = 15;
  const auto openReader = []() -> std::unique_ptr<reader::ParquetReader> {
    ADD_FAILURE() << "there is nothing to count";
    return nullptr;
  };
  VerifyCheck check(openReader, [](std::uint64_t) {}, {});
  check.check(batch_);
  EXPECT_THAT(check.report().problems, testing::IsEmpty());
  EXPECT_EQ(check.report().records, 15U);
  batch_.records = 16;
  EXPECT_THAT(problems(), ElementsAre("changed .")) << "the batch as a whole was promised with another number";
}

TEST_F(VerifyTest, WhatAManifestSaysOfRowsIsCounted) {
  for (ExpectedFile& file : batch_.files) file.records = 5;
  int opened = 0;
  const auto openReader = [&]() -> std::unique_ptr<reader::ParquetReader> {
    ++opened;
    throw core::Error(core::Category::config, "no reader");
  };
  VerifyCheck check(openReader, [](std::uint64_t) {}, {});
  EXPECT_THROW(check.check(batch_), core::Error);
  EXPECT_EQ(opened, 1);
}

TEST_F(VerifyTest, ALinkIsNoFile) {
  fs::rename(folder_ / "a", folder_ / ".moved");
  fs::create_symlink(folder_ / ".moved", folder_ / "a");
  EXPECT_THAT(problems(), ElementsAre("changed a"));
}

TEST_F(VerifyTest, AFolderThatIsGoneMissesEverything) {
  fs::remove_all(folder_.path());
  EXPECT_EQ(problems().size(), 3U);
}

TEST_F(VerifyTest, StopsWhenAsked) {
  std::stop_source stop;
  stop.request_stop();
  VerifyCheck check([]() -> std::unique_ptr<reader::ParquetReader> { return nullptr; }, [](std::uint64_t) {},
                    stop.get_token());
  EXPECT_THROW(check.check(batch_), core::Interrupted);
}

TEST(MakeFile, ReplacesOnlyWhenWhole) {
  const support::TempDirectory folder;
  const fs::path target = folder / "out.csv";
  fs::create_directory(folder / "scratch");
  write(target, "old");
  fs::permissions(target, fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_THROW(makeFile(target, folder / "scratch",
                        [](const fs::path& part) {
                          write(part, "half");
                          throw core::Error(Category::io, "disk full");
                        }),
               core::Error);
  EXPECT_EQ(core::readFile(target), "old");
  makeFile(target, folder / "scratch", [](const fs::path& part) { write(part, "new"); });
  EXPECT_EQ(core::readFile(target), "new");
  EXPECT_EQ(fs::status(target).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_TRUE(fs::is_empty(folder / "scratch"));
}

TEST(ScratchFolderOf, ARunIsItsOwnAndWhatAKilledRunLeftIsRemoved) {
  const support::TempDirectory folder;
  const fs::path gone = folder / ".caiexport-999999999-abcdef";
  const fs::path foreign = folder / ".caiexport-notes";
  for (const fs::path& each : {gone, foreign}) {
    write(each / "rows", "x");
    fs::permissions(each, fs::perms::owner_all);
  }
  {
    const ScratchFolder scratch(OutputTarget(folder / "out.csv"));
    EXPECT_EQ(scratch.path().parent_path(), folder.path());
    EXPECT_EQ(fs::status(scratch.path()).permissions(), fs::perms::owner_all);
    EXPECT_FALSE(fs::exists(gone));
    EXPECT_TRUE(fs::exists(foreign));
    const ScratchFolder another(OutputTarget(folder / "out.csv"));
    EXPECT_TRUE(fs::exists(scratch.path())) << "of a run that lives";
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(Output, IsWhereLinksEndAndNeverWhatIsRead) {
  const support::TempDirectory folder;
  write(folder / "in", "x");
  fs::create_hard_link(folder / "in", folder / "hard");
  fs::create_symlink("in", folder / "soft");
  fs::create_directory(folder / "sub");
  fs::create_symlink("../sub/new", folder / "sub" / "dangling");
  for (const char* name : {"in", "hard", "soft", "sub/../in"}) {
    EXPECT_EQ(categoryOf([&] { OutputTarget(folder / name).refuse(folder / "in"); }), Category::usage) << name;
  }
  const OutputTarget dangling(folder / "sub" / "dangling");
  EXPECT_EQ(dangling.path(), folder / "sub" / "new");
  EXPECT_TRUE(dangling.isFile());
  EXPECT_FALSE(OutputTarget("/dev/null").isFile());
  EXPECT_EQ(OutputTarget("/dev/stderr").descriptor(), 2);
  fs::create_symlink("loop", folder / "loop");
  EXPECT_EQ(categoryOf([&] { OutputTarget(folder / "loop"); }), Category::io);
  EXPECT_EQ(categoryOf([&] { OutputTarget(folder / "sub"); }), Category::usage);
}

}  // namespace
}  // namespace caiexport::cli
