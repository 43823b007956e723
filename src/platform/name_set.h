#pragma once
/// Which names a list has had so far: for lists of a million, in nine bytes a name.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "caiexport/core/encoding.h"

namespace caiexport::platform {

/// By two unlike functions: 128 bits, so that no two names of a list share them.
inline std::pair<std::uint64_t, std::uint64_t> hashesOf(std::string_view name) {
  return {std::hash<std::string_view>()(name), core::fnv1a(name)};
}

/// Of a long list it keeps 76 bits of a name's hashes: of a million names two share them in one list out of
/// 100,000,000,000.
class NameSet {
 public:
  /// False if it was there already.
  bool insert(std::string_view name) {
    const auto [key, place] = hashesOf(name);
    if (many_.empty()) {
      if (few_.size() < kFew) return few_.emplace(key, place).second;
      many_.resize(std::size_t{1} << kPlaceBits);
      for (const auto& [known, knownPlace] : few_) insert(known, knownPlace);
      few_.clear();
    }
    return insert(key, place);
  }

 private:
  static constexpr std::size_t kFew = 1000;
  static constexpr unsigned kPlaceBits = 12;

  bool insert(std::uint64_t key, std::uint64_t place) {
    std::vector<std::uint64_t>& keys = many_[place >> (64 - kPlaceBits)];
    const auto at = std::ranges::lower_bound(keys, key);
    if (at != keys.end() && *at == key) return false;
    const auto offset = at - keys.begin();
    // A vector of its own accord takes twice what it has.
    if (keys.size() == keys.capacity()) keys.reserve(keys.size() + keys.size() / 8 + 4);
    keys.insert(keys.begin() + offset, key);
    return true;
  }

  std::set<std::pair<std::uint64_t, std::uint64_t>> few_;
  std::vector<std::vector<std::uint64_t>> many_;  ///< By the place; each sorted.
};

}  // namespace caiexport::platform
