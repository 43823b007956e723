#include "caiexport/core/secret.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "caiexport/core/encoding.h"
#include "caiexport/core/text.h"

namespace caiexport::core {

void cleanse(std::string& text) {
  text.resize(text.capacity());
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

Secret& Secret::operator=(const Secret& other) {
  if (this == &other) return *this;
  cleanse(text_);
  text_ = other.text_;
  return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  cleanse(text_);
  text_ = std::move(other.text_);
  cleanse(other.text_);
  return *this;
}

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

/// What an escape stands for, and how long it is.
struct Meaning {
  std::size_t length = 0;
  std::string bytes;
};

/// The value of `count` hexadecimal digits at `at`.
std::optional<std::uint32_t> hex(std::string_view text, std::size_t at, std::size_t count) {
  if (text.size() < at + count) return std::nullopt;
  return numberFrom<std::uint32_t>(text.substr(at, count), 16);
}

std::string utf8(std::uint32_t c) {
  const auto tail = [c](unsigned shift) { return static_cast<char>(0x80U | ((c >> shift) & 0x3FU)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0U | (c >> 6U)), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0U | (c >> 12U)), tail(6), tail(0)};
  return {static_cast<char>(0xF0U | ((c >> 18U) & 0x7U)), tail(12), tail(6), tail(0)};
}

std::optional<Meaning> ofPercent(std::string_view text) {
  if (text.size() > 1 && (text[1] == 'u' || text[1] == 'U')) {
    const auto c = hex(text, 2, 4);
    return c ? std::optional(Meaning{6, utf8(*c)}) : std::nullopt;
  }
  const auto byte = hex(text, 1, 2);
  return byte ? std::optional(Meaning{3, {static_cast<char>(*byte)}}) : std::nullopt;
}

std::optional<Meaning> ofUnicode(std::string_view text) {
  const auto first = hex(text, 2, 4);
  if (!first) return std::nullopt;
  if (*first >= 0xD800 && *first < 0xDC00 && text.substr(6).starts_with("\\u")) {
    const auto second = hex(text, 8, 4);
    if (second && *second >= 0xDC00 && *second < 0xE000) {
      return Meaning{12, utf8(0x10000 + ((*first - 0xD800) << 10U) + (*second - 0xDC00))};
    }
  }
  return Meaning{6, utf8(*first)};
}

std::optional<Meaning> ofBackslash(std::string_view text) {
  if (text.size() < 2) return std::nullopt;
  if (text[1] == 'u' || text[1] == 'U') {
    if (auto meaning = ofUnicode(text)) return meaning;
  }
  if (text[1] == 'x' || text[1] == 'X') {
    if (const auto byte = hex(text, 2, 2)) return Meaning{4, {static_cast<char>(*byte)}};
  }
  constexpr std::string_view kLetters = "nrtbf";
  constexpr std::string_view kControls = "\n\r\t\b\f";
  const std::size_t letter = kLetters.find(text[1]);
  return Meaning{2, {letter == std::string_view::npos ? text[1] : kControls[letter]}};
}

std::optional<Meaning> ofEntity(std::string_view text) {
  constexpr std::size_t kLongest = 12;
  const std::size_t end = text.substr(0, kLongest).find(';');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view name = text.substr(1, end - 1);
  static constexpr std::array<std::pair<std::string_view, char>, 5> kNames{
      {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}}};
  for (const auto& [known, c] : kNames) {
    if (name == known) return Meaning{end + 1, {c}};
  }
  if (!name.starts_with('#')) return std::nullopt;
  const bool isHex = name.starts_with("#x") || name.starts_with("#X");
  const auto c = numberFrom<std::uint32_t>(name.substr(isHex ? 2 : 1), isHex ? 16 : 10);
  return c && *c <= 0x10FFFF ? std::optional(Meaning{end + 1, utf8(*c)}) : std::nullopt;
}

std::optional<Meaning> meaningOf(std::string_view text) {
  switch (text.front()) {
    case '%':
      return ofPercent(text);
    case '\\':
      return ofBackslash(text);
    case '&':
      return ofEntity(text);
    default:
      return std::nullopt;
  }
}

/// Text as a reader would understand it who knows every kind of escape, and where each byte of it came from.
class Unescaped {
 public:
  explicit Unescaped(std::string_view text) : text_(text) {}

  std::string_view text() const { return text_; }
  /// Of each byte, in the text as it was at first.
  std::size_t placeOf(std::size_t byte) const {
    for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) byte = placeIn(*layer, byte);
    return byte;
  }
  /// For an end: past the last byte it is `end`.
  std::size_t placeOf(std::size_t byte, std::size_t end) const { return byte < text_.size() ? placeOf(byte) : end; }
  bool takeLayerOff();

 private:
  /// Bytes that were taken over as they were, or all that one escape stands for.
  struct Run {
    std::size_t at = 0;
    std::size_t place = 0;  ///< In the text before this layer was taken off.
    bool isEscape = false;
  };
  using Layer = std::vector<Run>;

  static std::size_t placeIn(const Layer& layer, std::size_t byte) {
    const Run& run = *std::prev(std::ranges::upper_bound(layer, byte, {}, &Run::at));
    return run.isEscape ? run.place : run.place + (byte - run.at);
  }

  std::string_view text_;
  std::string unescaped_;  ///< Holds the text once a layer is off.
  std::vector<Layer> layers_;
};

/// Where escapes may begin, for a text that is gone through from its front to its end.
class EscapeMarks {
 public:
  explicit EscapeMarks(std::string_view text) : text_(text) {}

  /// The first one at `at` or behind it; the text's size if there is none.
  std::size_t from(std::size_t at) {
    std::size_t first = text_.size();
    for (std::size_t i = 0; i < kMarks.size(); ++i) {
      if (next_[i] <= at) next_[i] = std::min(text_.find(kMarks[i], at), text_.size());
      first = std::min(first, next_[i]);
    }
    return first;
  }

 private:
  static constexpr std::string_view kMarks = "%\\&";

  std::string_view text_;
  std::array<std::size_t, kMarks.size()> next_{};  ///< Of each mark the first place that was not asked for yet.
};

/// Takes one layer of escapes off: `%41`, `%u0041`, `\u0041` (and pairs of them), `\x41`, `\/`, `\n`, `&#65;`,
/// `&#x41;`, `&amp;` and its like. False if there was none. What is no such escape stays as it is.
bool Unescaped::takeLayerOff() {
  const std::string_view before = text_;
  std::string after;
  Layer layer;
  EscapeMarks marks(before);
  std::size_t taken = 0;
  const auto takeUntil = [&](std::size_t end) {
    if (taken < end) layer.push_back({.at = after.size(), .place = taken, .isEscape = false});
    after.append(before, taken, end - taken);
  };
  for (std::size_t at = marks.from(0); at < before.size();) {
    const std::optional<Meaning> meaning = meaningOf(before.substr(at));
    if (!meaning) {
      at = marks.from(at + 1);
      continue;
    }
    after.reserve(before.size());
    takeUntil(at);
    if (!meaning->bytes.empty()) layer.push_back({.at = after.size(), .place = at, .isEscape = true});
    after.append(meaning->bytes);
    taken = at + meaning->length;
    at = marks.from(taken);
  }
  if (taken == 0) return false;
  takeUntil(before.size());
  unescaped_ = std::move(after);
  text_ = unescaped_;
  layers_.push_back(std::move(layer));
  return true;
}

/// Of three bytes in a row a number that is the same in letters of either case: they differ in no bit below the sixth.
constexpr std::size_t kGramBytes = 3;
constexpr unsigned kLowBits = 5;
constexpr unsigned kGrams = 1U << (kGramBytes * kLowBits);
static_assert(kShortest >= kGramBytes);

unsigned gramAt(std::string_view text, std::size_t at) {
  const auto low = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]) % (1U << kLowBits); };
  return (low(0) << kLowBits | low(1)) << kLowBits | low(2);
}

}  // namespace

struct KnownSecrets::Known {
  std::vector<std::string> secrets;
  std::vector<Spelling> spellings;
  std::array<std::vector<std::size_t>, 256> byFirst;  ///< Indices of spellings, by the first byte in lower case.
  /// No match is shorter.
  std::size_t shortest = kEnoughOfALongOne;
  /// Nearly all of a text is passed by looking at every `step`th place alone: a match that begins between two of them
  /// has one of the spellings' grams there, not further than `step` - 1 from its beginning.
  std::size_t step = 1;
  std::bitset<kGrams> grams;

  explicit Known(std::vector<std::string> all) : secrets(std::move(all)) {
    for (const std::string& secret : secrets) addSpellings(spellings, secret);
    for (const Spelling& spelling : spellings) shortest = std::min(shortest, spelling.text.reveal().size());
    step = shortest - kGramBytes + 1;
    for (std::size_t i = 0; i < spellings.size(); ++i) {
      const std::string_view text = spellings[i].text.reveal();
      byFirst[static_cast<unsigned char>(text.front())].push_back(i);
      for (std::size_t at = 0; at < step; ++at) grams.set(gramAt(text, at));
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
    // An escape is longer than what it stands for.
    if (text.size() < shortest) return;
    search(text, use, [&](std::size_t at, std::size_t end) { found.push_back({offset + at, offset + end}); });
    if (EscapeMarks(text).from(0) == text.size()) return;
    Unescaped level(text);
    for (int depth = 0; depth < kMostLevels && level.takeLayerOff(); ++depth) {
      search(level.text(), use, [&](std::size_t at, std::size_t end) {
        found.push_back({offset + level.placeOf(at), offset + level.placeOf(end, text.size())});
      });
    }
  }

 private:
  template <class Take>
  void search(std::string_view text, Use use, const Take& take) const {
    std::size_t at = 0;
    for (std::size_t last = step - 1; last + kGramBytes <= text.size(); last += step) {
      if (!grams[gramAt(text, last)]) continue;
      at = std::max(at, last + 1 - step);
      while (at <= last) {
        const std::size_t length = matchAt(text, at, use);
        if (length > 0) take(at, at + length);
        at += std::max<std::size_t>(length, 1);
      }
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

void KnownSecrets::hideIn(std::string& text, Use use) const {
  std::shared_ptr<const Known> known;
  {
    const std::lock_guard lock(mutex_);
    known = known_;
  }
  if (!known) return;
  std::vector<Range> found;
  for (std::size_t begin = 0; begin < text.size(); begin += kWindow) {
    known->findIn(std::string_view(text).substr(begin, kWindow + kOverlap), begin, use, found);
  }
  if (found.empty()) return;

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
  text = std::move(out);
}

}  // namespace caiexport::core
