#include "caiexport/core/error.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace caiexport::core {
namespace {

constexpr std::string_view kSetting = "correct the setting; the manual lists all settings";
constexpr std::string_view kCredential =
    "check the credential and its product profile in the Developer Console and Admin Console";
constexpr std::string_view kId = "check the id and the sandbox";
constexpr std::string_view kSchedule = "check that the scoring or the evaluation is still scheduled";
constexpr std::string_view kNetwork = "check the network, a proxy and the address; try again later";
constexpr std::string_view kPage =
    "check that base_url is really the platform and not a proxy's page; --verbose shows every request";
constexpr std::string_view kFile = "check the file, its owner and its mode";
constexpr std::string_view kWait = "wait until the other process has ended";
constexpr std::string_view kReport = "please report it, with the output of --verbose";

constexpr std::string_view kShow = "caiexport show JOB shows what happened";
constexpr std::string_view kResume = "continue with: caiexport resume JOB";
constexpr std::string_view kKept = "job JOB keeps what it has; continue: caiexport resume JOB";

constexpr bool yes = true;
constexpr bool no = false;

// clang-format off
constexpr std::array<CategoryFacts, 16> kCategories{{
    //                                           code  step              all  one  may stay     remedy       way on
    //                                                                 files batch unanswered
    {Category::usage,        "usage",           2,  StepEnd::noted,   yes, no,   no,          kSetting,    kShow},
    {Category::config,       "config",          2,  StepEnd::noted,   yes, no,   no,          kSetting,    kShow},
    {Category::auth,         "auth",            3,  StepEnd::failed,  yes, no,   no,          kCredential, kShow},
    {Category::permission,   "permission",      3,  StepEnd::failed,  yes, no,   yes,         kCredential, kShow},
    {Category::notFound,     "notFound",        4,  StepEnd::failed,  no,  yes,  yes,         kId,         kShow},
    {Category::tooOld,       "tooOld",         12,  StepEnd::failed,  no,  yes,  yes,         kSchedule,   kShow},
    {Category::remoteFailed, "remoteFailed",    5,  StepEnd::failed,  no,  yes,  yes,         kPage,       kShow},
    {Category::timedOut,     "timedOut",        6,  StepEnd::noted,   no,  no,   no,          kNetwork,    kResume},
    {Category::unavailable,  "unavailable",     7,  StepEnd::noted,   no,  no,   no,          kNetwork,    kResume},
    {Category::protocol,     "protocol",        8,  StepEnd::failed,  no,  yes,  yes,         kPage,       kShow},
    {Category::verification, "verification",    8,  StepEnd::failed,  no,  yes,  no,          kPage,       kShow},
    {Category::io,           "io",              9,  StepEnd::failed,  no,  no,   no,          kFile,       kShow},
    {Category::busy,         "busy",           10,  StepEnd::noted,   no,  yes,  no,          kWait,       kShow},
    {Category::blocked,      "blocked",        11,  StepEnd::blocked, no,  no,   no,          kWait,       kShow},
    {Category::interrupted,  "interrupted",   130,  StepEnd::noted,   yes, no,   no,          kReport,     kKept},
    {Category::internal,     "internal",        1,  StepEnd::noted,   yes, no,   no,          kReport,     kShow},
}};
// clang-format on

static_assert(std::ranges::all_of(kCategories, [](const CategoryFacts& facts) {
  return &facts - kCategories.data() == static_cast<std::ptrdiff_t>(facts.category);
}));

}  // namespace

const CategoryFacts& factsOf(Category category) {
  return kCategories.at(static_cast<std::size_t>(category));
}

std::string_view nameOf(Category category) {
  return factsOf(category).name;
}

Category categoryFrom(std::string_view name) {
  for (const CategoryFacts& facts : kCategories) {
    if (facts.name == name) return facts.category;
  }
  return Category::internal;
}

int exitCodeOf(Category category) {
  return factsOf(category).exitCode;
}

Error::Error(Category category, const std::string& message, Details details)
    : std::runtime_error(message), category_(category), details_(std::move(details)) {}

TransientError::TransientError(const std::string& message, Cause cause, Details details)
    : Error(Category::unavailable, message, std::move(details)), cause_(cause) {}

}  // namespace caiexport::core
