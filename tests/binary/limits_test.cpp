/// The real program where the system gives little memory.

#include <gmock/gmock.h>

#include <string>

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

using testing::HasSubstr;
using testing::Not;

class Limits : public BinaryTest {
 protected:
  void SetUp() override {
    if (support::kSanitized) {
      GTEST_SKIP() << "NOT CHECKED: too little memory, since sanitizers take terabytes of address space";
    }
    startWith(R"({"batches": 1, "files": 20})");
  }

  static std::string megabytes(unsigned size) { return "ulimit -v " + std::to_string(size * 1024); }

  std::string dataset(unsigned number) const {
    return std::string("dataset --id ") + kScoreDataset + " --output '" + path("out" + std::to_string(number)) + "'";
  }
};

void expectNoMemoryIsExit9(const Ended& ended, const std::string& what) {
  if (ended.code == 0) return;
  // Where not even the libraries can be loaded, the loader says so.
  if (ended.code == 127) return;
  EXPECT_EQ(ended.code, 9) << what << ": " << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("hint: ")) << what;
  EXPECT_THAT(ended.err, Not(HasSubstr("install caiexport"))) << what;
}

TEST_F(Limits, TooLittleMemoryIsExit9WhereverItRunsOut) {
  for (const unsigned size : {30U, 34U, 40U, 50U, 60U, 100U, 200U, 300U, 350U, 400U, 450U, 600U}) {
    expectNoMemoryIsExit9(runUnder(megabytes(size), dataset(size)), "dataset in " + std::to_string(size));
  }
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset}).code, 0);
  for (const std::string words : {"scores --last", "read --last", "verify --last"}) {
    for (const unsigned size : {60U, 100U, 150U, 200U, 300U}) {
      expectNoMemoryIsExit9(runUnder(megabytes(size), words), words + " in " + std::to_string(size));
    }
  }
  EXPECT_THAT(runUnder(megabytes(100), "scores --last").err, HasSubstr("ulimit -v"));
}

}  // namespace
}  // namespace caiexport::binary
