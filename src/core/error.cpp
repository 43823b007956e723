#include "caiexport/core/error.h"

#include <array>
#include <utility>

namespace caiexport::core {
namespace {

struct CategoryFacts {
  Category category;
  std::string_view name;
  int exitCode;
};

constexpr std::array<CategoryFacts, 16> kCategories{{
    {Category::usage, "usage", 2},
    {Category::config, "config", 2},
    {Category::auth, "auth", 3},
    {Category::permission, "permission", 3},
    {Category::notFound, "notFound", 4},
    {Category::tooOld, "tooOld", 12},
    {Category::remoteFailed, "remoteFailed", 5},
    {Category::timedOut, "timedOut", 6},
    {Category::unavailable, "unavailable", 7},
    {Category::protocol, "protocol", 8},
    {Category::verification, "verification", 8},
    {Category::io, "io", 9},
    {Category::busy, "busy", 10},
    {Category::blocked, "blocked", 11},
    {Category::interrupted, "interrupted", 130},
    {Category::internal, "internal", 1},
}};

const CategoryFacts& factsOf(Category category) {
  for (const CategoryFacts& facts : kCategories) {
    if (facts.category == category) return facts;
  }
  return kCategories.back();
}

}  // namespace

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
