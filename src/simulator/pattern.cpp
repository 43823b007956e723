#include "simulator/pattern.h"

#include <Poco/Exception.h>
#include <Poco/RegularExpression.h>

#include <stdexcept>

namespace caiexport::simulator {

Pattern::Pattern(const std::string& expression) {
  try {
    compiled_ = std::make_shared<const Poco::RegularExpression>(expression);
  } catch (const Poco::Exception& error) {
    throw std::invalid_argument("'" + expression + "' is not a regular expression: " + error.displayText());
  }
}

bool Pattern::occursIn(const std::string& text) const {
  Poco::RegularExpression::Match match{};
  return !compiled_ || compiled_->match(text, match) > 0;
}

bool matchesWildcard(const std::string& text, const std::string& wildcard) {
  std::string expression = "\\A";
  for (std::size_t at = 0; at < wildcard.size(); ++at) {
    const bool star = wildcard[at] == '*';
    if (star && at + 1 < wildcard.size() && wildcard[at + 1] == '*') {
      expression += "\\*";
      ++at;
    } else if (star) {
      expression += "[\\s\\S]*";
    } else {
      const bool plain = std::isalnum(static_cast<unsigned char>(wildcard[at])) != 0 || (wildcard[at] & 0x80) != 0;
      expression += plain ? std::string(1, wildcard[at]) : "\\" + std::string(1, wildcard[at]);
    }
  }
  return Pattern(expression + "\\z").occursIn(text);
}

}  // namespace caiexport::simulator
