#pragma once
/// Searching by regular expression (PCRE's syntax).

#include <memory>
#include <string>

namespace Poco {
class RegularExpression;
}

namespace caiexport::simulator {

class Pattern {
 public:
  /// Matches anything.
  Pattern() = default;
  /// Throws std::invalid_argument for what is no regular expression.
  explicit Pattern(const std::string& expression);

  /// Whether a part of the text matches.
  bool occursIn(const std::string& text) const;

 private:
  std::shared_ptr<const Poco::RegularExpression> compiled_;
};

/// Catalog's wildcards: `*` matches anything, `**` is a star. The whole text must match.
bool matchesWildcard(const std::string& text, const std::string& wildcard);

}  // namespace caiexport::simulator
