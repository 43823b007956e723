#include "caiexport/core/file_system.h"
#include "caiexport/core/descriptors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "caiexport/core/error.h"
#include "support/child_process.h"
#include "support/recording_file_system.h"
#include "support/temp_directory.h"

namespace caiexport::core {
namespace {

namespace fs = std::filesystem;
using support::ChildProcess;
using support::RecordingFileSystem;
using support::SimulatedCrash;
using support::TempDirectory;
using testing::ElementsAre;
using testing::HasSubstr;

std::span<const std::byte> bytesOf(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string readAll(WritableFile& file, std::size_t most = 1000) {
  std::string text(most, '?');
  text.resize(file.readAt(0, std::as_writable_bytes(std::span(text))));
  return text;
}

void put(const fs::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// The io error that `action` throws; an empty one (internal) if it throws none.
template <typename Action>
Error ioErrorOf(Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::io) << error.what();
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(Category::internal, "");
}

class FileSystemTest : public testing::Test {
 protected:
  FileSystem& files_ = diskFileSystem();
  TempDirectory directory_;
};

TEST_F(FileSystemTest, WritesAnywhereAndKeepsWhatIsThere) {
  {
    const auto file = files_.open(directory_ / "a");
    file->writeAt(5, bytesOf("world"));
    file->writeAt(0, bytesOf("hello"));
    file->sync();
  }
  const auto file = files_.open(directory_ / "a");
  EXPECT_EQ(readAll(*file), "helloworld");
  file->writeAt(10, {});
  EXPECT_EQ(readAll(*file), "helloworld");
}

TEST_F(FileSystemTest, ReadsFewerBytesOnlyAtTheEnd) {
  const auto file = files_.open(directory_ / "a");
  file->writeAt(0, bytesOf("0123456789"));
  std::array<std::byte, 4> buffer{};
  EXPECT_EQ(file->readAt(3, buffer), 4U);
  EXPECT_EQ(buffer[0], std::byte{'3'});
  EXPECT_EQ(file->readAt(8, buffer), 2U);
  EXPECT_EQ(file->readAt(10, buffer), 0U);
  EXPECT_EQ(file->readAt(1'000'000, buffer), 0U);
}

TEST_F(FileSystemTest, ResizeCutsAndGrows) {
  const auto file = files_.open(directory_ / "a");
  file->writeAt(0, bytesOf("0123456789"));
  file->resize(3);
  EXPECT_EQ(readAll(*file), "012");
  file->resize(5);
  EXPECT_EQ(readAll(*file), std::string("012\0\0", 5));
}

TEST_F(FileSystemTest, GoesBeyondFourGigabytes) {
  const std::uint64_t far = 5ULL << 30U;
  const auto file = files_.open(directory_ / "sparse");
  file->writeAt(far, bytesOf("x"));
  EXPECT_EQ(files_.sizeOf(directory_ / "sparse"), far + 1);
}

TEST_F(FileSystemTest, ThreadsWriteTheirOwnRanges) {
  constexpr std::size_t kBlock = 64 * 1024;
  const auto file = files_.open(directory_ / "a");
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < 4; ++i) {
      writers.emplace_back([&file, i] {
        const std::string block(kBlock, static_cast<char>('a' + i));
        for (std::uint64_t round = 0; round < 8; ++round) file->writeAt((round * 4 + i) * kBlock, bytesOf(block));
      });
    }
  }
  const std::string content = readAll(*file, 33 * kBlock);
  ASSERT_EQ(content.size(), 32 * kBlock);
  for (std::size_t i = 0; i < content.size(); i += kBlock / 2) {
    ASSERT_EQ(content[i], static_cast<char>('a' + i / kBlock % 4)) << i;
  }
}

TEST_F(FileSystemTest, NewFilesGetTheAskedMode) {
  const mode_t before = ::umask(022);
  files_.open(directory_ / "private", 0600);
  files_.open(directory_ / "common");
  ::umask(before);
  EXPECT_EQ(fs::status(directory_ / "private").permissions(), fs::perms(0600));
  EXPECT_EQ(fs::status(directory_ / "common").permissions(), fs::perms(0644));
}

TEST_F(FileSystemTest, RefusesLinksWhereverTheyLead) {
  put(directory_ / "target", "precious");
  fs::create_symlink(directory_ / "target", directory_ / "link");
  fs::create_symlink(directory_ / "nothing", directory_ / "dangling");
  EXPECT_THAT(ioErrorOf([&] { files_.open(directory_ / "link"); }).what(), HasSubstr("symbolic link"));
  EXPECT_THAT(ioErrorOf([&] { files_.open(directory_ / "dangling"); }).what(), HasSubstr("symbolic link"));
  EXPECT_FALSE(fs::exists(directory_ / "nothing"));
}

TEST_F(FileSystemTest, RefusesWhatIsNoFile) {
  ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(ioErrorOf([&] { files_.open(directory_ / "pipe"); }).what(), HasSubstr("not a regular file"));
  EXPECT_THAT(ioErrorOf([&] { files_.open(directory_.path()); }).what(), HasSubstr("it is a folder"));
}

TEST_F(FileSystemTest, ErrorsNameThePathAndTheReason) {
  const Error error = ioErrorOf([&] { files_.open(directory_ / "no" / "file"); });
  EXPECT_EQ(std::string(error.what()),
            "cannot open " + (directory_ / "no/file").string() + ": No such file or directory");
  EXPECT_FALSE(error.hint().empty());
}

TEST_F(FileSystemTest, APathCannotDisturbTheTerminal) {
  EXPECT_THAT(ioErrorOf([&] { files_.open(directory_ / "no\x1b[2J" / "file"); }).what(), HasSubstr("no\\x1b[2J/file"));
}

TEST_F(FileSystemTest, RefusesOffsetsThatNoFileHas) {
  const auto file = files_.open(directory_ / "a");
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  EXPECT_THAT(ioErrorOf([&] { file->writeAt(kMost, bytesOf("x")); }).what(), HasSubstr("larger than"));
  EXPECT_THAT(ioErrorOf([&] { file->writeAt(kMost / 2, bytesOf("x")); }).what(), HasSubstr("larger than"));
  EXPECT_THAT(ioErrorOf([&] { file->resize(kMost); }).what(), HasSubstr("larger than"));
  EXPECT_EQ(files_.sizeOf(directory_ / "a"), 0U);
}

TEST_F(FileSystemTest, TheLimitOnFileSizesIsAnErrorNotASignal) {
  const fs::path path = directory_ / "big";
  const fs::path report = directory_ / "report";
  ChildProcess child([&](const ChildProcess::Link&) {
    const rlimit limit{4096, 4096};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    try {
      diskFileSystem().open(path)->writeAt(0, bytesOf(std::string(10'000, 'x')));
    } catch (const Error& error) {
      put(report, error.what());
      return error.category() == Category::io && !error.hint().empty() ? 0 : 3;
    }
    return 4;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_THAT(readFile(report), HasSubstr("ulimit -f"));
}

TEST_F(FileSystemTest, AFullDiskIsNamedWithTheRoomLeft) {
  for (const int number : {ENOSPC, EDQUOT, EFBIG}) {
    const Error error = ioErrorOf([&] { throwIoError("write", directory_ / "not-there-yet", number); });
    EXPECT_THAT(error.what(), testing::MatchesRegex("cannot write .*/not-there-yet: .* \\([0-9.]+ [kMGTPE]?B free\\)"));
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST_F(FileSystemTest, AMissingPermissionHasAHint) {
  EXPECT_THAT(ioErrorOf([&] { throwIoError("open", directory_ / "a", EACCES); }).hint(), HasSubstr("permission"));
  EXPECT_THAT(ioErrorOf([&] { throwIoError("open", "", EACCES); }).what(), HasSubstr("empty path"));
}

TEST_F(FileSystemTest, RenameReplaces) {
  put(directory_ / "old", "old");
  put(directory_ / "new", "new");
  files_.rename(directory_ / "new", directory_ / "old");
  EXPECT_EQ(readFile(directory_ / "old"), "new");
  EXPECT_FALSE(fs::exists(directory_ / "new"));
  const Error error = ioErrorOf([&] { files_.rename(directory_ / "gone", directory_ / "old"); });
  EXPECT_THAT(error.what(), HasSubstr("/gone to "));
  EXPECT_THAT(error.what(), HasSubstr("/old: "));
}

TEST_F(FileSystemTest, RemoveDoesNotMindAnAbsentFile) {
  put(directory_ / "a", "");
  files_.remove(directory_ / "a");
  EXPECT_FALSE(fs::exists(directory_ / "a"));
  EXPECT_NO_THROW(files_.remove(directory_ / "a"));
  EXPECT_NO_THROW(files_.remove(directory_ / "no" / "folder"));
  fs::create_directory(directory_ / "folder");
  ioErrorOf([&] { files_.remove(directory_ / "folder"); });
  EXPECT_TRUE(fs::exists(directory_ / "folder"));
}

TEST_F(FileSystemTest, RemoveTakesTheLinkNotItsTarget) {
  put(directory_ / "target", "precious");
  fs::create_symlink(directory_ / "target", directory_ / "link");
  files_.remove(directory_ / "link");
  EXPECT_EQ(readFile(directory_ / "target"), "precious");
}

TEST_F(FileSystemTest, CreatesFoldersAboveToo) {
  files_.createDirectories(directory_ / "a/b/c/");
  EXPECT_TRUE(fs::is_directory(directory_ / "a/b/c"));
  EXPECT_NO_THROW(files_.createDirectories(directory_ / "a/b/c"));
  files_.createDirectories(directory_ / "x/../y");
  EXPECT_TRUE(fs::is_directory(directory_ / "y"));
  fs::create_directory_symlink(directory_ / "a", directory_ / "link");
  files_.createDirectories(directory_ / "link" / "d");
  EXPECT_TRUE(fs::is_directory(directory_ / "a/d"));
}

TEST_F(FileSystemTest, CreateDirectoriesStopsAtAFileInTheWay) {
  put(directory_ / "file", "");
  EXPECT_THAT(ioErrorOf([&] { files_.createDirectories(directory_ / "file"); }).what(), HasSubstr("File exists"));
  ioErrorOf([&] { files_.createDirectories(directory_ / "file" / "below"); });
  ioErrorOf([&] { files_.createDirectories(""); });
}

TEST_F(FileSystemTest, SizeIsThatOfARegularFileOnly) {
  put(directory_ / "a", "12345");
  fs::create_symlink(directory_ / "a", directory_ / "link");
  EXPECT_EQ(files_.sizeOf(directory_ / "a"), 5U);
  EXPECT_EQ(files_.sizeOf(directory_ / "link"), std::nullopt);
  EXPECT_EQ(files_.sizeOf(directory_.path()), std::nullopt);
  EXPECT_EQ(files_.sizeOf(directory_ / "none"), std::nullopt);
  EXPECT_EQ(files_.sizeOf(directory_ / "a" / "below"), std::nullopt);
}

TEST_F(FileSystemTest, FreeBytesNeedsAFolder) {
  EXPECT_GT(files_.freeBytes(directory_.path()), 0U);
  ioErrorOf([&] { files_.freeBytes(directory_ / "none"); });
}

TEST_F(FileSystemTest, SyncDirectoryNeedsAFolder) {
  EXPECT_NO_THROW(files_.syncDirectory(directory_.path()));
  put(directory_ / "file", "");
  ioErrorOf([&] { files_.syncDirectory(directory_ / "file"); });
}

class AtomicFileTest : public testing::Test {
 protected:
  std::string partName() const { return "a." + std::to_string(::getpid()) + ".part"; }

  TempDirectory directory_;
  fs::path path_ = directory_ / "a";
  RecordingFileSystem files_;
};

TEST_F(AtomicFileTest, WritesSyncsThenRenamesThenSyncsTheFolder) {
  const std::string part = partName();
  const std::string folder = directory_.path().filename().string();
  writeFileAtomically(files_, path_, "content");
  EXPECT_THAT(files_.calls(), ElementsAre("remove " + part, "open " + part, "write " + part + " 0+7", "sync " + part,
                                          "rename " + part + " a", "syncDirectory " + folder));
  EXPECT_EQ(readFile(path_), "content");
}

TEST_F(AtomicFileTest, ReplacesALongerFileWhole) {
  writeFileAtomically(files_, path_, "a longer content");
  writeFileAtomically(files_, path_, "short");
  EXPECT_EQ(readFile(path_), "short");
  writeFileAtomically(files_, path_, "");
  EXPECT_EQ(readFile(path_), "");
}

TEST_F(AtomicFileTest, HasTheAskedModeWhateverWasLeftBehind) {
  put(directory_ / partName(), "a leftover that others may read");
  fs::permissions(directory_ / partName(), fs::perms(0644));
  writeFileAtomically(files_, path_, "secret", 0600);
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms(0600));
  EXPECT_EQ(readFile(path_), "secret");
}

TEST_F(AtomicFileTest, ReplacesALinkNotItsTarget) {
  put(directory_ / "target", "precious");
  fs::create_symlink(directory_ / "target", path_);
  writeFileAtomically(files_, path_, "new");
  EXPECT_EQ(readFile(directory_ / "target"), "precious");
  EXPECT_FALSE(fs::is_symlink(path_));
}

TEST_F(AtomicFileTest, AfterACrashTheOldOrTheNewContentIsThere) {
  RecordingFileSystem undisturbed;
  writeFileAtomically(undisturbed, directory_ / "probe", "new");
  const std::size_t callCount = undisturbed.calls().size();
  bool sawOld = false;
  bool sawNew = false;
  for (std::size_t n = 1; n <= callCount; ++n) {
    put(path_, "old");
    RecordingFileSystem crashing;
    crashing.crashAtCall(n);
    EXPECT_THROW(writeFileAtomically(crashing, path_, "new"), SimulatedCrash) << n;
    const std::string found = readFile(path_);
    EXPECT_TRUE(found == "old" || found == "new") << "after call " << n << ": " << found;
    sawOld = sawOld || found == "old";
    sawNew = sawNew || found == "new";

    writeFileAtomically(diskFileSystem(), path_, "newer");
    EXPECT_EQ(readFile(path_), "newer") << "what the crash left is in the way after call " << n;
    EXPECT_FALSE(fs::exists(directory_ / partName()));
  }
  EXPECT_TRUE(sawOld && sawNew);
}

TEST_F(AtomicFileTest, AFailureLeavesTheOldFileAndNoPart) {
  put(path_, "old");
  // Open, write, sync, rename: each before the new name counts.
  for (std::size_t n = 2; n <= 5; ++n) {
    RecordingFileSystem failing;
    failing.failAtCall(n, [] { throw Error(Category::io, "disk full"); });
    EXPECT_STREQ(ioErrorOf([&] { writeFileAtomically(failing, path_, "new"); }).what(), "disk full") << n;
    EXPECT_EQ(readFile(path_), "old") << n;
    EXPECT_FALSE(fs::exists(directory_ / partName())) << n;
  }
}

TEST_F(AtomicFileTest, ProcessesThatWriteAtOnceDoNotMix) {
  const auto writeOften = [this](char letter) {
    return [this, letter](const ChildProcess::Link& link) {
      link.ready();
      link.waitForRelease();
      for (std::size_t i = 1; i <= 200; ++i) writeFileAtomically(diskFileSystem(), path_, std::string(i * 50, letter));
      return 0;
    };
  };
  put(path_, "x");
  ChildProcess one(writeOften('1'));
  ChildProcess two(writeOften('2'));
  one.waitUntilReady();
  two.waitUntilReady();
  one.release();
  two.release();
  for (int i = 0; i < 500; ++i) {
    const std::string content = readFile(path_);
    ASSERT_FALSE(content.empty());
    ASSERT_EQ(content, std::string(content.size(), content.front()));
  }
  EXPECT_EQ(one.wait(), 0);
  EXPECT_EQ(two.wait(), 0);
  EXPECT_EQ(readFile(path_).size(), 200U * 50U);
}

TEST(ReadFile, ReadsTheWholeFile) {
  const TempDirectory directory;
  const std::string content = std::string("a\0b\r\n", 5) + std::string(100'000, 'x');
  put(directory / "a", content);
  EXPECT_EQ(readFile(directory / "a"), content);
  put(directory / "empty", "");
  EXPECT_EQ(readFile(directory / "empty"), "");
}

TEST(ReadFile, HasALimit) {
  const TempDirectory directory;
  put(directory / "a", "12345");
  EXPECT_EQ(readFile(directory / "a", 5), "12345");
  EXPECT_THAT(ioErrorOf([&] { readFile(directory / "a", 4); }).what(), HasSubstr("larger than 4 B"));
  ioErrorOf([&] { readFile(directory / "a", 0); });
}

TEST(ReadFile, ReadsWhatTellsNoSize) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const std::string content(20'000, 'p');
  ASSERT_EQ(::write(ends[1], content.data(), content.size()), static_cast<ssize_t>(content.size()));
  ::close(ends[1]);
  const fs::path path = "/dev/fd/" + std::to_string(ends[0]);
  EXPECT_EQ(readFile(path), content);
  ::close(ends[0]);
}

TEST(ReadFile, NamesWhatItCannotRead) {
  const TempDirectory directory;
  EXPECT_THAT(ioErrorOf([&] { readFile(directory / "none"); }).what(), HasSubstr("No such file"));
  EXPECT_THAT(ioErrorOf([&] { readFile(directory.path()); }).what(), HasSubstr("Is a directory"));
}

TEST(Links, AreMadeWhereNothingIs) {
  const TempDirectory directory;
  EXPECT_TRUE(diskFileSystem().createLink("target", directory / "link"));
  EXPECT_EQ(fs::read_symlink(directory / "link"), "target");
  EXPECT_THAT(ioErrorOf([&] { diskFileSystem().createLink("other", directory / "link"); }).what(),
              HasSubstr("File exists"));
  diskFileSystem().remove(directory / "link");
  EXPECT_FALSE(fs::exists(fs::symlink_status(directory / "link")));
}

TEST(EmptyDirectories, AreRemovedAndOthersAreNot) {
  const TempDirectory directory;
  fs::create_directories(directory / "a/b");
  EXPECT_FALSE(diskFileSystem().removeEmptyDirectory(directory / "a"));
  EXPECT_TRUE(diskFileSystem().removeEmptyDirectory(directory / "a/b"));
  EXPECT_TRUE(diskFileSystem().removeEmptyDirectory(directory / "a"));
  EXPECT_TRUE(diskFileSystem().removeEmptyDirectory(directory / "a")) << "it is gone already";
  std::ofstream(directory / "file") << "x";
  EXPECT_THAT(ioErrorOf([&] { diskFileSystem().removeEmptyDirectory(directory / "file"); }).what(),
              HasSubstr("Not a directory"));
}

TEST(UntilDone, RepeatsWhatASignalInterrupted) {
  int calls = 0;
  const int result = untilDone([&] {
    errno = EINTR;
    return ++calls < 3 ? -1 : 42;
  });
  EXPECT_EQ(result, 42);
  EXPECT_EQ(calls, 3);
}

TEST(UntilDone, LeavesOtherFailuresAlone) {
  int calls = 0;
  const int result = untilDone([&] {
    ++calls;
    errno = EIO;
    return -1;
  });
  EXPECT_EQ(result, -1);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(errno, EIO);
}

}  // namespace
}  // namespace caiexport::core
