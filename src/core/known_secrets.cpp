#include "caiexport/core/known_secrets.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "caiexport/core/secret.h"
#include "unescape.h"

namespace caiexport::core {
namespace {

constexpr std::size_t kShortest = 3;
/// A shorter one must stand as a word of its own: "test" in "latest" is none.
constexpr std::size_t kShortestInsideWords = 6;
constexpr std::size_t kEnoughOfALongOne = 20;
/// A server that hands out a new token with each answer must not make the search slow.
constexpr std::size_t kMostKnown = 64;
constexpr std::size_t kKeptForEver = 16;
constexpr int kMostLevels = 3;
/// What is looked at in one go: unescaped text costs several times its size. No spelling of a secret is longer than
/// what two windows have in common.
constexpr std::size_t kWindow = 1U << 20U;
constexpr std::size_t kOverlap = 128U << 10U;

struct Spelling {
  Secret text;  ///< In lower case.
  bool isWord = false;
  bool isOrdinary = false;  ///< It may be a word or number of the platform's own.
};

struct Range {
  std::size_t begin = 0;
  std::size_t end = 0;
};

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool extendsWord(char c) {
  const char l = lower(c);
  return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80;
}

bool isOrdinary(std::string_view secret) {
  constexpr std::size_t kLongestOrdinary = 11;
  const auto isLetter = [](char c) { return lower(c) >= 'a' && lower(c) <= 'z'; };
  const auto isDigit = [](char c) { return c >= '0' && c <= '9'; };
  if (secret.size() < kShortestInsideWords) return true;
  return secret.size() <= kLongestOrdinary &&
         (std::ranges::all_of(secret, isLetter) || std::ranges::all_of(secret, isDigit));
}

void addSpelling(std::vector<Spelling>& spellings, std::string text, bool isWord = false, bool isOrdinary = false) {
  for (char& c : text) c = lower(c);
  spellings.push_back({Secret(std::move(text)), isWord, isOrdinary});
}

/// The characters of the base64 of anything with `bytes` after `before` other ones that depend on `bytes` alone.
std::string base64Inside(std::string_view bytes, std::size_t before, std::string_view alphabet) {
  std::string padded(before, '\0');
  padded.reserve(before + bytes.size() + 1);
  padded.append(bytes).push_back('\0');
  const std::size_t first = (before * 8 + 5) / 6;
  const std::size_t end = (before + bytes.size()) * 8 / 6;
  std::string out;
  for (std::size_t i = first; i < end; ++i) {
    const std::size_t bit = i * 6;
    const auto byteAt = [&](std::size_t at) -> unsigned { return static_cast<unsigned char>(padded[at]); };
    const unsigned pair = byteAt(bit / 8) << 8U | byteAt(bit / 8 + 1);
    out += alphabet[(pair >> (10 - bit % 8)) & 0x3FU];
  }
  cleanse(padded);
  return out;
}

std::string hexOf(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(2 * bytes.size());
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4U];
    out += kDigits[static_cast<unsigned char>(c) & 0xFU];
  }
  return out;
}

void addSpellings(std::vector<Spelling>& spellings, std::string_view secret) {
  const bool isWord = secret.size() < kShortestInsideWords;
  addSpelling(spellings, std::string(secret), isWord, isOrdinary(secret));
  if (secret.find(' ') != std::string_view::npos) {
    std::string form(secret);
    std::ranges::replace(form, ' ', '+');
    addSpelling(spellings, std::move(form), isWord, isOrdinary(secret));
  }
  if (isWord) return;
  addSpelling(spellings, hexOf(secret));
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  const std::string usual = std::string(kLetters) + "+/";
  const std::string forUrls = std::string(kLetters) + "-_";
  for (std::size_t before = 0; before < 3; ++before) {
    std::string text = base64Inside(secret, before, usual);
    std::string urlText = base64Inside(secret, before, forUrls);
    if (urlText != text) addSpelling(spellings, std::move(urlText));
    addSpelling(spellings, std::move(text));
  }
}

/// How much of `text` is the spelling; 0 if it does not begin with it.
std::size_t lengthOfMatch(std::string_view text, const Spelling& spelling) {
  const std::string_view wanted = spelling.text.reveal();
  const std::size_t most = std::min(text.size(), wanted.size());
  std::size_t same = 0;
  while (same < most && lower(text[same]) == wanted[same]) ++same;
  return same == wanted.size() || same >= kEnoughOfALongOne ? same : 0;
}

}  // namespace

struct KnownSecrets::Known {
  std::vector<std::string> secrets;
  std::vector<Spelling> spellings;
  std::array<std::vector<std::size_t>, 256> byFirst;  ///< Indices of spellings, by the first byte in lower case.

  explicit Known(std::vector<std::string> all) : secrets(std::move(all)) {
    for (const std::string& secret : secrets) addSpellings(spellings, secret);
    for (std::size_t i = 0; i < spellings.size(); ++i) {
      byFirst[static_cast<unsigned char>(spellings[i].text.reveal().front())].push_back(i);
    }
  }
  ~Known() {
    for (std::string& secret : secrets) cleanse(secret);
  }
  Known(const Known&) = delete;
  Known& operator=(const Known&) = delete;

  /// The longest match that begins at `at`; 0: none.
  std::size_t matchAt(std::string_view text, std::size_t at, Use use) const {
    std::size_t longest = 0;
    for (const std::size_t i : byFirst[static_cast<unsigned char>(lower(text[at]))]) {
      if (use == Use::readOn && spellings[i].isOrdinary) continue;
      const std::size_t length = lengthOfMatch(text.substr(at), spellings[i]);
      const bool inWord = spellings[i].isWord && ((at > 0 && extendsWord(text[at - 1])) ||
                                                  (at + length < text.size() && extendsWord(text[at + length])));
      if (!inWord) longest = std::max(longest, length);
    }
    return longest;
  }

  /// Appends where they stand in the whole text, of which `text` is the part from `offset` on.
  void findIn(std::string_view text, std::size_t offset, Use use, std::vector<Range>& found) const {
    Unescaped level{.text = std::string(text), .places = {}};
    for (int depth = 0;; ++depth) {
      for (std::size_t at = 0; at < level.text.size();) {
        const std::size_t length = matchAt(level.text, at, use);
        if (length > 0) {
          found.push_back({offset + level.placeOf(at), offset + level.placeOf(at + length, text.size())});
        }
        at += std::max<std::size_t>(length, 1);
      }
      if (depth == kMostLevels || !unescape(level)) return;
    }
  }
};

KnownSecrets::KnownSecrets() = default;
KnownSecrets::~KnownSecrets() = default;

void KnownSecrets::add(std::string_view secret) {
  if (secret.size() < kShortest) return;
  const std::lock_guard lock(mutex_);
  std::vector<std::string> all;
  if (known_) {
    if (std::ranges::find(known_->secrets, secret) != known_->secrets.end()) return;
    all = known_->secrets;
  }
  if (all.size() >= kMostKnown) {
    cleanse(all[kKeptForEver]);
    all.erase(all.begin() + kKeptForEver);
  }
  all.emplace_back(secret);
  known_ = std::make_shared<const Known>(std::move(all));
}

std::string KnownSecrets::without(std::string text, Use use) const {
  std::shared_ptr<const Known> known;
  {
    const std::lock_guard lock(mutex_);
    known = known_;
  }
  if (!known || text.empty()) return text;
  std::vector<Range> found;
  for (std::size_t begin = 0; begin < text.size(); begin += kWindow) {
    known->findIn(std::string_view(text).substr(begin, kWindow + kOverlap), begin, use, found);
  }
  if (found.empty()) return text;

  std::ranges::sort(found, {}, &Range::begin);
  std::string out;
  std::size_t copied = 0;
  for (const Range& range : found) {
    if (range.begin >= copied) {
      out.append(text, copied, range.begin - copied).append("***");
      copied = range.end;
    }
    copied = std::max(copied, range.end);
  }
  out.append(text, copied);
  return out;
}

}  // namespace caiexport::core
