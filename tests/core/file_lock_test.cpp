#include "caiexport/core/file_lock.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <limits>
#include <string>

#include "caiexport/core/error.h"
#include "support/child_process.h"
#include "support/temp_directory.h"

namespace caiexport::core {
namespace {

using support::ChildProcess;
using support::TempDirectory;

int thisProcess() {
  return static_cast<int>(::getpid());
}

/// A process that holds lock `number` until it is released or killed.
int holdLock(const std::filesystem::path& file, std::int64_t number, const ChildProcess::Link& link) {
  LockTable locks(file);
  if (locks.tryLock(number)) return 1;
  link.ready();
  link.waitForRelease();
  return 0;
}

/// What a process that is not the test finds.
bool anotherProcessCanTake(const std::filesystem::path& file, std::int64_t number) {
  ChildProcess child([&](const ChildProcess::Link&) { return LockTable(file).tryLock(number) ? 1 : 0; });
  const int status = child.wait();
  EXPECT_LT(status, 2) << "the child could not look";
  return status == 0;
}

class LockTableTest : public testing::Test {
 protected:
  TempDirectory directory_;
  std::filesystem::path file_ = directory_ / "locks";
};

TEST_F(LockTableTest, MakesAPrivateFile) {
  const LockTable locks(file_);
  EXPECT_EQ(std::filesystem::status(file_).permissions() & std::filesystem::perms(0077), std::filesystem::perms::none);
}

TEST_F(LockTableTest, KeepsOthersOut) {
  LockTable locks(file_);
  EXPECT_FALSE(locks.tryLock(7));
  EXPECT_FALSE(anotherProcessCanTake(file_, 7));
  EXPECT_TRUE(anotherProcessCanTake(file_, 6)) << "neighbours are other locks";
  EXPECT_TRUE(anotherProcessCanTake(file_, 8)) << "neighbours are other locks";
  locks.unlock(7);
  EXPECT_TRUE(anotherProcessCanTake(file_, 7));
}

TEST_F(LockTableTest, UnlockingOneKeepsTheOthers) {
  LockTable locks(file_);
  EXPECT_FALSE(locks.tryLock(1));
  EXPECT_FALSE(locks.tryLock(2));
  EXPECT_FALSE(locks.tryLock(3));
  locks.unlock(2);
  EXPECT_FALSE(anotherProcessCanTake(file_, 1));
  EXPECT_TRUE(anotherProcessCanTake(file_, 2));
  EXPECT_FALSE(anotherProcessCanTake(file_, 3));
}

TEST_F(LockTableTest, NamesTheHolder) {
  LockTable locks(file_);
  ChildProcess child([&](const ChildProcess::Link& link) { return holdLock(file_, 7, link); });
  child.waitUntilReady();
  EXPECT_EQ(locks.tryLock(7), child.id());
  EXPECT_EQ(locks.holder(7), child.id());
  EXPECT_EQ(locks.holder(8), std::nullopt);
  EXPECT_FALSE(locks.tryLock(8));
  EXPECT_EQ(locks.holder(8), thisProcess()) << "this process included";
}

TEST_F(LockTableTest, IsFreeAgainWhenTheHolderEnds) {
  LockTable locks(file_);
  ChildProcess child([&](const ChildProcess::Link& link) { return holdLock(file_, 7, link); });
  child.waitUntilReady();
  ASSERT_TRUE(locks.tryLock(7));
  child.release();
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(locks.holder(7), std::nullopt);
  EXPECT_FALSE(locks.tryLock(7));
}

TEST_F(LockTableTest, IsFreeAgainWhenTheHolderIsKilled) {
  LockTable locks(file_);
  ChildProcess child([&](const ChildProcess::Link& link) { return holdLock(file_, 7, link); });
  child.waitUntilReady();
  ASSERT_TRUE(locks.tryLock(7));
  child.kill();
  EXPECT_FALSE(locks.tryLock(7));
}

TEST_F(LockTableTest, AForkedChildDoesNotInheritTheLock) {
  LockTable locks(file_);
  ASSERT_FALSE(locks.tryLock(7));
  const int parent = thisProcess();
  ChildProcess child([&](const ChildProcess::Link&) { return locks.tryLock(7) == parent ? 0 : 1; });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_FALSE(anotherProcessCanTake(file_, 7)) << "and its end leaves the parent's lock alone";
}

TEST_F(LockTableTest, TakesRowIdsOfAnySize) {
  LockTable locks(file_);
  for (const std::int64_t number :
       {std::int64_t{0}, std::int64_t{1} << 40, std::numeric_limits<std::int64_t>::max() - 1}) {
    EXPECT_FALSE(locks.tryLock(number));
    EXPECT_FALSE(anotherProcessCanTake(file_, number)) << number;
  }
  EXPECT_EQ(std::filesystem::file_size(file_), 0U) << "the bytes need not exist";
}

TEST_F(LockTableTest, RefusesWhatItCannotOpen) {
  EXPECT_THROW(LockTable(directory_ / "nowhere" / "locks"), Error);
  std::filesystem::create_symlink(file_, directory_ / "link");
  EXPECT_THROW(LockTable(directory_ / "link"), Error) << "a link could point to anyone's file";
  LockTable locks(file_);
  EXPECT_THROW(locks.tryLock(-1), Error);
}

int holdDirectory(const std::filesystem::path& directory, const ChildProcess::Link& link) {
  const DirectoryLock lock(directory);
  link.ready();
  link.waitForRelease();
  return 0;
}

TEST(DirectoryLockTest, LeavesNothingInTheFolder) {
  const TempDirectory directory;
  {
    const DirectoryLock lock(directory.path());
    EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_NO_THROW(DirectoryLock(directory.path())) << "released";
}

TEST(DirectoryLockTest, NamesTheHolder) {
  const TempDirectory directory;
  ChildProcess child([&](const ChildProcess::Link& link) { return holdDirectory(directory.path(), link); });
  child.waitUntilReady();
  try {
    const DirectoryLock lock(directory.path());
    FAIL() << "two processes have the folder";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::busy);
    EXPECT_NE(std::string(error.what()).find(directory.path().string()), std::string::npos) << error.what();
#ifdef __linux__
    EXPECT_NE(std::string(error.what()).find("process " + std::to_string(child.id())), std::string::npos)
        << error.what();
#endif
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(DirectoryLockTest, IsFreeAgainWhenTheHolderIsKilled) {
  const TempDirectory directory;
  ChildProcess child([&](const ChildProcess::Link& link) { return holdDirectory(directory.path(), link); });
  child.waitUntilReady();
  ASSERT_THROW(DirectoryLock(directory.path()), Error);
  child.kill();
  EXPECT_NO_THROW(DirectoryLock(directory.path()));
}

TEST(DirectoryLockTest, KeepsOutThisProcessToo) {
  const TempDirectory directory;
  const DirectoryLock lock(directory.path());
  EXPECT_THROW(DirectoryLock(directory.path()), Error);
}

TEST(DirectoryLockTest, OtherFoldersAreFree) {
  const TempDirectory one;
  const TempDirectory other;
  const DirectoryLock lock(one.path());
  EXPECT_NO_THROW(DirectoryLock(other.path()));
}

TEST(DirectoryLockTest, RefusesWhatIsNoFolder) {
  const TempDirectory directory;
  for (const char* name : {"nowhere", "file"}) {
    if (name == std::string("file")) LockTable(directory / name);
    try {
      const DirectoryLock lock(directory / name);
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), Category::io) << error.what();
    }
  }
}

}  // namespace
}  // namespace caiexport::core
