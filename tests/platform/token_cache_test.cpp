#include "caiexport/platform/auth.h"

#include <sys/stat.h>

#include <fstream>

#include "caiexport/core/file_system.h"
#include "fixture.h"
#include "support/temp_directory.h"

namespace caiexport::platform {
namespace {

namespace fs = std::filesystem;

class TokenCacheTest : public testing::Test {
 protected:
  support::TempDirectory temp;
  RecordingLog log;
  fs::path folder = temp / "cache";
  core::TimePoint expiry{core::Duration(1764000000123)};

  TokenCache cache(std::string_view secret = "canary-secret") { return TokenCache(folder, {"ims", "id", secret}, log); }
  void store() { cache().store({core::Secret("canary-token"), expiry}); }
  fs::path file() {
    for (const auto& entry : fs::directory_iterator(folder)) return entry.path();
    return {};
  }
  static unsigned modeOf(const fs::path& path) { return static_cast<unsigned>(fs::status(path).permissions()) & 0777U; }
};

TEST_F(TokenCacheTest, KeepsTokenAndExpiryAndNothingElse) {
  store();
  EXPECT_EQ(core::readFile(file()), "1764000000123\ncanary-token\n");
  EXPECT_EQ(file().filename().string().size(), 64U);
  EXPECT_EQ(modeOf(file()), 0600U);
  EXPECT_EQ(modeOf(folder), 0700U);
  const auto loaded = cache().load();
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->token.reveal(), "canary-token");
  EXPECT_EQ(loaded->expiresAt, expiry);
  EXPECT_THAT(file().string() + log.all(), testing::Not(testing::HasSubstr("canary")));
}

TEST_F(TokenCacheTest, ARotatedSecretSeesNoOldToken) {
  store();
  EXPECT_FALSE(cache("other").load());
}

TEST_F(TokenCacheTest, TheDigestKeepsFieldsApart) {
  EXPECT_NE(digestOf({"ab", "c"}), digestOf({"a", "bc"}));
  EXPECT_NE(digestOf({"a", ""}), digestOf({"", "a"}));
  EXPECT_EQ(digestOf({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_F(TokenCacheTest, IgnoresAFileThatOthersMayRead) {
  store();
  for (const unsigned mode : {0640U, 0604U, 0660U}) {
    ASSERT_EQ(::chmod(file().c_str(), mode), 0);
    EXPECT_FALSE(cache().load()) << mode;
  }
  store();
  EXPECT_EQ(modeOf(file()), 0600U);
  EXPECT_TRUE(cache().load());
}

TEST_F(TokenCacheTest, IgnoresLinksAndFolders) {
  store();
  const fs::path name = file();
  fs::rename(name, temp / "real");
  fs::create_symlink(temp / "real", name);
  EXPECT_FALSE(cache().load());
  store();
  EXPECT_FALSE(fs::is_symlink(name));
  EXPECT_TRUE(fs::exists(temp / "real"));
  fs::remove(name);
  fs::create_directory(name);
  EXPECT_FALSE(cache().load());
  store();
  cache().forget(core::Secret("canary-token"));
  EXPECT_TRUE(fs::is_directory(name));
}

TEST_F(TokenCacheTest, DoesNotUseAFolderThatOthersMayWrite) {
  store();
  ASSERT_EQ(::chmod(folder.c_str(), 0777), 0);
  EXPECT_FALSE(cache().load());
  // Before anything is written there again, others lose the right.
  store();
  EXPECT_EQ(fs::status(folder).permissions() & fs::perms(0022), fs::perms::none);
  EXPECT_TRUE(cache().load());
}

TEST_F(TokenCacheTest, IgnoresABrokenFile) {
  store();
  const fs::path name = file();
  for (const char* content : {"", "x", "1764000000123", "1764000000123\n", "1764000000123\n\n", "soon\ntoken\n",
                              "1764000000123\ntoken", "1764000000123\nto\nken\n", "99999999999999999999\ntoken\n"}) {
    std::ofstream(name, std::ios::trunc) << content;
    EXPECT_FALSE(cache().load()) << content;
  }
  std::ofstream(name, std::ios::trunc) << "1\n" << std::string(100000, 't') << "\n";
  EXPECT_FALSE(cache().load());
}

TEST_F(TokenCacheTest, ForgetsOnlyThatToken) {
  store();
  cache().forget(core::Secret("another"));
  EXPECT_TRUE(cache().load());
  cache().forget(core::Secret("canary-token"));
  EXPECT_FALSE(cache().load());
  EXPECT_EQ(file(), fs::path());
}

TEST_F(TokenCacheTest, AFolderThatCannotBeMadeIsNoError) {
  std::ofstream(folder) << "a file";
  store();
  EXPECT_FALSE(cache().load());
  EXPECT_THAT(log.all(), testing::HasSubstr("token_cache"));
  folder.clear();
  store();
  EXPECT_FALSE(cache().load());
}

}  // namespace
}  // namespace caiexport::platform
