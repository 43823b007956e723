#include <gtest/gtest.h>

#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/transfer/downloader.h"
#include "support/temp_directory.h"
#include "transfer/doubles.h"

namespace caiexport::transfer {
namespace {

using core::Sha256;
using testing::bytesOf;
using testing::writeAll;

// FIPS 180-2, appendix B, and the well-known hash of nothing.
constexpr auto kOfAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr auto kOfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(Sha256, GivesTheKnownHashes) {
  Sha256 hash;
  const std::string abc = "abc";
  hash.update(bytesOf(abc, 0, 1));
  hash.update(bytesOf(abc, 1, 3));
  EXPECT_EQ(hash.finish(), kOfAbc);
  EXPECT_EQ(Sha256().finish(), kOfNothing);
}

TEST(Sha256OfFile, HashesTheContent) {
  const support::TempDirectory folder;
  writeAll(folder / "abc", "abc");
  writeAll(folder / "empty", "");
  EXPECT_EQ(sha256OfFile(folder / "abc", {}), kOfAbc);
  EXPECT_EQ(sha256OfFile(folder / "empty", {}), kOfNothing);
}

TEST(Sha256OfFile, NamesAFileThatIsNotThere) {
  const support::TempDirectory folder;
  try {
    sha256OfFile(folder / "missing", {});
    FAIL() << "no error";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.category(), core::Category::io);
    EXPECT_NE(std::string(error.what()).find("missing"), std::string::npos);
  }
}

TEST(Sha256OfFile, EndsOnAStop) {
  const support::TempDirectory folder;
  writeAll(folder / "abc", "abc");
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(sha256OfFile(folder / "abc", stop.get_token()), core::Interrupted);
}

}  // namespace
}  // namespace caiexport::transfer
