#include "caiexport/core/memory.h"

#include <string_view>

namespace caiexport::core {
namespace {

constexpr std::string_view kHint = "close other programs, or use a machine with more memory";

}  // namespace

Error outOfMemory(const std::string& what) {
  return {Category::io, what, {.hint = std::string(kHint)}};
}

bool isOutOfMemory(const Error& error) {
  return error.category() == Category::io && error.hint().starts_with(kHint);
}

Error withOptions(const Error& error, const std::string& options) {
  std::string hint = error.hint();
  hint.insert(kHint.size(), ", or " + options);
  return {error.category(), error.what(), {.requestId = error.requestId(), .hint = hint}};
}

}  // namespace caiexport::core
