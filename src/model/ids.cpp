#include "caiexport/model/ids.h"

#include <algorithm>

#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::model {

bool isWellFormedId(std::string_view text) {
  constexpr std::string_view kRefused = "/\\?#%\"'`<>|*:";
  constexpr std::size_t kLongest = 200;
  if (text.empty() || text.size() > kLongest || text == "." || text == "..") return false;
  return std::ranges::all_of(text, [&](char c) { return c > ' ' && c < 0x7f && kRefused.find(c) == kRefused.npos; });
}

std::string checkedId(std::string_view what, std::string_view text) {
  if (text.empty()) throw core::Error(core::Category::usage, "the " + std::string(what) + " is empty");
  if (!isWellFormedId(text)) {
    throw core::Error(core::Category::usage,
                      "the " + std::string(what) + " '" + core::printable(text, 80) + "' is not an id of the platform",
                      {.hint = "an id has visible characters only, no blanks, slashes or quotes; copy it from the user "
                               "interface or from the API"});
  }
  return std::string(text);
}

}  // namespace caiexport::model
