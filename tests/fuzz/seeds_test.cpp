/// Runs every fuzz target over its seeds, so that targets and seeds keep up with the code.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "fuzz/target.h"

namespace caiexport::fuzz {

std::map<std::string, Target>& targets() {
  static std::map<std::string, Target> all;
  return all;
}

namespace {

std::vector<std::filesystem::path> seedsOf(const std::string& target) {
  std::vector<std::filesystem::path> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(CAIEXPORT_FUZZ_SEEDS) / target)) {
    seeds.push_back(entry.path());
  }
  return seeds;
}

std::string contentOf(const std::filesystem::path& file) {
  std::ostringstream content;
  content << std::ifstream(file, std::ios::binary).rdbuf();
  return content.str();
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& [name, target] : targets()) all.push_back(name);
  return all;
}

class Fuzz : public testing::TestWithParam<std::string> {};

/// Whole, and cut at every place: most of what is wrong with a parser shows at the end of its input.
TEST_P(Fuzz, TakesItsSeeds) {
  const Target target = targets().at(GetParam());
  target("");
  const auto seeds = seedsOf(GetParam());
  ASSERT_GE(seeds.size(), 2U);
  for (const std::filesystem::path& seed : seeds) {
    SCOPED_TRACE(seed.string());
    const std::string content = contentOf(seed);
    ASSERT_FALSE(content.empty());
    const std::size_t step = 1 + content.size() / 200;
    for (std::size_t end = content.size(); end > 0; end -= std::min(step, end)) target(content.substr(0, end));
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Fuzz, testing::ValuesIn(names()), [](const auto& target) { return target.param; });

/// A folder of seeds without a target would never be looked at.
TEST(FuzzSeeds, AllHaveATarget) {
  for (const auto& entry : std::filesystem::directory_iterator(CAIEXPORT_FUZZ_SEEDS)) {
    EXPECT_TRUE(targets().contains(entry.path().filename().string())) << entry.path();
  }
}

}  // namespace
}  // namespace caiexport::fuzz
