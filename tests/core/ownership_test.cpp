#include "caiexport/core/file_system.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "caiexport/core/error.h"
#include "caiexport/core/memory.h"
#include "support/temp_directory.h"

namespace caiexport::core {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

template <class Call>
Error refusalOf(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return {Category::internal, "nothing was refused"};
}

class Ownership : public testing::Test {
 protected:
  std::string made(const std::string& name, unsigned mode = 0600) {
    const fs::path file = folder_ / name;
    std::ofstream(file) << "mine";
    ::chmod(file.c_str(), mode);
    return file.string();
  }

  /// A file of another user: root can give one away, everybody else has root's at hand.
  std::string foreign() {
    if (::geteuid() != 0) return "/etc/passwd";
    const std::string file = made("theirs");
    EXPECT_EQ(::chown(file.c_str(), 65534, 65534), 0);
    return file;
  }

  static unsigned modeOf(const std::string& path) {
    struct stat facts {};
    EXPECT_EQ(::lstat(path.c_str(), &facts), 0);
    return facts.st_mode & 07777U;
  }

  support::TempDirectory folder_;
};

TEST_F(Ownership, OnlyOnesOwnFilesCount) {
  EXPECT_NO_THROW(requireOwnFile(made("file"), "the file"));
  EXPECT_NO_THROW(requireOwnFile(folder_ / "none", "the file"));
  fs::create_symlink(folder_ / "file", folder_ / "link");
  EXPECT_NO_THROW(requireOwnFile(folder_ / "link", "the file")) << "a link of one's own";
  const Error theirs = refusalOf([&] { requireOwnFile(foreign(), "the file"); });
  EXPECT_EQ(theirs.category(), Category::io);
  EXPECT_THAT(theirs.what(), HasSubstr("it belongs to another user"));
  EXPECT_THAT(refusalOf([&] { requireOwnFile(folder_.path(), "the file"); }).what(), HasSubstr("it is a folder"));
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(refusalOf([&] { requireOwnFile(folder_ / "pipe", "the file"); }).what(), HasSubstr("no regular file"));
}

TEST_F(Ownership, ALinkThatAnotherUserMadeLeadsWhereThatOneWants) {
  if (::geteuid() != 0) {
    // Nobody but root can make one.
    EXPECT_NO_THROW(requireOwnFile(made("file"), "the file"));
    return;
  }
  fs::create_symlink(made("file"), folder_ / "link");
  ASSERT_EQ(::lchown((folder_ / "link").c_str(), 65534, 65534), 0);
  EXPECT_THAT(refusalOf([&] { requireOwnFile(folder_ / "link", "the file"); }).what(), HasSubstr("another user made"));
  EXPECT_EQ(refusalOf([&] { requireTrusted(folder_ / "link", "the file"); }).category(), Category::config);
}

TEST_F(Ownership, SettingsAreReadFromOneselfAndRootUnlessEverybodyMayWrite) {
  EXPECT_NO_THROW(requireTrusted("/etc/passwd", "the file"));
  EXPECT_NO_THROW(requireTrusted(made("mine", 0644), "the file"));
  const Error open = refusalOf([&] { requireTrusted(made("open", 0666), "the file"); });
  EXPECT_EQ(open.category(), Category::config);
  EXPECT_THAT(open.hint(), HasSubstr("chmod 600"));
}

TEST_F(Ownership, ModesAreMended) {
  const std::string file = made("file", 0666);
  makePrivate(file, 0040);
  EXPECT_EQ(modeOf(file), 0640U);
  makePrivate(file);
  EXPECT_EQ(modeOf(file), 0600U);
  EXPECT_NO_THROW(makePrivate(folder_ / "none"));
}

TEST_F(Ownership, AppendingMakesAPrivateFileAndKeepsWhatIsThere) {
  const std::string file = (folder_ / "log").string();
  for (const char* text : {"one", "two"}) {
    const int descriptor = openToAppend(file, "the log file");
    EXPECT_EQ(::write(descriptor, text, 3), 3);
    ::close(descriptor);
  }
  EXPECT_EQ(modeOf(file), 0600U);
  EXPECT_EQ(fs::file_size(file), 6U);
}

TEST_F(Ownership, AppendingRefusesLinksPipesAndTheFilesOfOthers) {
  const auto refusal = [&](const fs::path& path) {
    return refusalOf([&] { ::close(openToAppend(path, "the log file")); });
  };
  const std::string victim = made("victim");
  fs::create_symlink(victim, folder_ / "link");
  fs::create_symlink(folder_ / "nowhere", folder_ / "dangling");
  fs::create_hard_link(victim, folder_ / "second");
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(refusal(folder_ / "link").what(), HasSubstr("it is a link"));
  EXPECT_THAT(refusal(folder_ / "dangling").what(), HasSubstr("it is a link"));
  EXPECT_FALSE(fs::exists(folder_ / "nowhere"));
  EXPECT_THAT(refusal(folder_ / "second").what(), HasSubstr("a hard link"));
  EXPECT_THAT(refusal(folder_ / "pipe").what(), HasSubstr("no regular file")) << "and does not wait for a reader";
  const int reader = ::open((folder_ / "pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  EXPECT_THAT(refusal(folder_ / "pipe").what(), HasSubstr("no regular file"));
  ::close(reader);
  EXPECT_EQ(refusal(foreign()).category(), Category::io);
  EXPECT_EQ(fs::file_size(victim), 4U);
}

TEST(OutOfMemory, HasAHintThatHoldsForEveryCommand) {
  const Error error = outOfMemory();
  EXPECT_EQ(error.category(), Category::io);
  EXPECT_THAT(error.hint(), testing::Not(HasSubstr("--")));
  EXPECT_TRUE(isOutOfMemory(error));
  EXPECT_FALSE(isOutOfMemory(Error(Category::io, "out of memory")));
  const Error more = withOptions(error, "allow more with --memory SIZE");
  EXPECT_THAT(more.hint(), testing::EndsWith(", or allow more with --memory SIZE"));
  EXPECT_TRUE(isOutOfMemory(more));
}

}  // namespace
}  // namespace caiexport::core
