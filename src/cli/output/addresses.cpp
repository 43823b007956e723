#include "addresses.h"

#include <Poco/RegularExpression.h>

namespace caiexport::cli {
namespace {

const Poco::RegularExpression& address() {
  static const Poco::RegularExpression expression(
      R"(\b(?:GET|POST|PUT|PATCH|DELETE|HEAD) https?://([^/\s:]+(?::\d+)?)\S*: )");
  return expression;
}

}  // namespace

std::string withoutAddress(std::string_view message) {
  std::string text(message);
  address().subst(text, "", Poco::RegularExpression::RE_GLOBAL);
  return text;
}

std::string hostIn(std::string_view message) {
  Poco::RegularExpression::MatchVec found;
  const std::string text(message);
  if (address().match(text, 0, found) < 2) return {};
  return text.substr(found[1].offset, found[1].length);
}

}  // namespace caiexport::cli
