#include "caiexport/json/document.h"

#include <Poco/Exception.h>
#include <Poco/JSON/Handler.h>
#include <Poco/JSON/Parser.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <new>
#include <optional>
#include <unordered_map>

#include "caiexport/core/text.h"

namespace caiexport::json {
namespace {

constexpr std::uint32_t kName = 15;
/// Sizes have 28 bits.
constexpr std::size_t kMostBytes = (std::size_t{1} << 28U) - 1;

bool isDigit(char c) {
  return c >= '0' && c <= '9';
}

/// Poco 1.11 turns 18446744073709551616 into 0 without a word, and refuses the whole text for a 1e400.
bool survivesPoco(const std::string& number) {
  if (number.find_first_of(".eE") != std::string::npos) return std::isfinite(std::strtod(number.c_str(), nullptr));
  const std::string_view digits = std::string_view(number).substr(number.starts_with('-') ? 1 : 0);
  if (digits.empty() || digits.size() < 18) return true;
  return core::numberFrom<std::int64_t>(number) || core::numberFrom<std::uint64_t>(number);
}

bool isNumber(const std::string& token) {
  const std::size_t first = token.starts_with('-') ? 1 : 0;
  const std::size_t last = token.size() - 1;
  return token.size() > first && isDigit(token[first]) && isDigit(token[last]) &&
         (token[first] != '0' || token.size() == first + 1 || !isDigit(token[first + 1]));
}

/// Where the string ends whose opening quote is at `quote`: at its closing quote, or at the end of the text.
std::size_t endOfString(std::string_view text, std::size_t quote) {
  std::size_t at = quote + 1;
  std::size_t end = quote;
  while (true) {
    // The one that was found may have been escaped.
    if (end < at) end = std::min(text.find('"', at), text.size());
    const std::size_t escape = text.substr(at, end - at).find('\\');
    if (escape == text.npos) return end;
    at = std::min(at + escape + 2, text.size());
  }
}

struct Guarded {
  bool tooDeep = false;
  std::optional<std::string> changed;  ///< In place of the text.
};

/// Turns every number that Poco can't hold into a string of its digits: a field that nobody asks for does no harm then,
/// and one that is asked for is checked with all its digits.
Guarded guarded(const std::string& text, int mostLevels) {
  constexpr std::string_view kNumberCharacters = "0123456789+-.eE";
  std::string out;
  std::size_t copied = 0;
  int level = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      i = endOfString(text, i);
    } else if (c == '{' || c == '[') {
      if (++level > mostLevels) return {.tooDeep = true, .changed = {}};
    } else if (c == '}' || c == ']') {
      --level;
    } else if (c == '-' || isDigit(c)) {
      const std::size_t end = std::min(text.find_first_not_of(kNumberCharacters, i), text.size());
      const std::string token = text.substr(i, end - i);
      if (isNumber(token) && !survivesPoco(token)) {
        out.append(text, copied, i - copied).append("\"").append(token).append("\"");
        copied = end;
      }
      i = end - 1;
    }
  }
  if (copied == 0) return {};
  out.append(text, copied);
  return {.tooDeep = false, .changed = std::move(out)};
}

}  // namespace

/// Takes the parser's events. What is over the limit is passed over: an exception thrown through the parser would leave
/// its memory behind.
class Builder final : public Poco::JSON::Handler {
 public:
  Builder(Document& document, std::size_t mostValues) : document_(document), left_(mostValues) {}

  bool overflowed() const { return overflowed_; }
  bool complete() const {
    if (document_.nodes_.empty() || !open_.empty()) return false;
    return document_.kind(0) == Kind::array || document_.kind(0) == Kind::object;
  }

  void reset() override {}
  void startObject() override { open(Kind::object); }
  void endObject() override { close(); }
  void startArray() override { open(Kind::array); }
  void endArray() override { close(); }
  void key(const std::string& name) override {
    if (!overflowed_) addText(kName, name);
  }
  void null() override { add(Kind::null, 0); }
  void value(int number) override { value(static_cast<Poco::Int64>(number)); }
  void value(unsigned number) override { value(static_cast<Poco::UInt64>(number)); }
  void value(Poco::Int64 number) override { add(Kind::integer, static_cast<std::uint64_t>(number)); }
  void value(Poco::UInt64 number) override { add(Kind::natural, number); }
  void value(double number) override { add(Kind::real, std::bit_cast<std::uint64_t>(number)); }
  void value(bool flag) override { add(Kind::boolean, flag ? 1 : 0); }
  void value(const std::string& text) override {
    if (takesAnother()) addText(static_cast<std::uint32_t>(Kind::text), text);
  }

 private:
  bool takesAnother() {
    if (left_ == 0) overflowed_ = true;
    if (overflowed_) return false;
    --left_;
    if (!open_.empty()) document_.nodes_[open_.back()].grow();
    return true;
  }

  void add(Kind kind, std::uint64_t payload) {
    if (takesAnother()) document_.nodes_.emplace_back(static_cast<std::uint32_t>(kind), 0U, payload);
  }

  void addText(std::uint32_t kind, const std::string& text) {
    document_.nodes_.emplace_back(kind, static_cast<std::uint32_t>(text.size()), document_.texts_.size());
    document_.texts_ += text;
  }

  void open(Kind kind) {
    const std::size_t index = document_.nodes_.size();
    add(kind, 0);
    if (!overflowed_) open_.push_back(static_cast<Document::Index>(index));
  }

  void close() {
    if (overflowed_) return;
    document_.nodes_[open_.back()].setPayload(document_.nodes_.size());
    open_.pop_back();
  }

  Document& document_;
  std::size_t left_;
  bool overflowed_ = false;
  std::vector<Document::Index> open_;
};

Document::Parsed Document::parse(const std::string& text, const Limits& limits) {
  if (text.size() > kMostBytes) return {nullptr, Problem::tooManyValues};
  const Guarded guard = guarded(text, limits.levels);
  if (guard.tooDeep) return {nullptr, Problem::tooDeep};
  auto document = std::make_shared<Document>();
  // No text is longer than what it was written as. What is not touched costs nothing.
  document->texts_.reserve(text.size());
  const Poco::SharedPtr<Builder> builder(new Builder(*document, limits.values));
  try {
    Poco::JSON::Parser parser(builder);
    parser.parse(guard.changed ? *guard.changed : text);
  } catch (const Poco::Exception& e) {
    if (e.displayText().find("out of memory") != std::string::npos) throw std::bad_alloc();
    return {nullptr, Problem::malformed};
  }
  if (builder->overflowed()) return {nullptr, Problem::tooManyValues};
  if (!builder->complete()) return {nullptr, Problem::malformed};
  return {std::move(document), Problem::none};
}

double Document::real(Index value) const {
  return std::bit_cast<double>(nodes_[value].payload());
}

std::string Document::path(Index value) const {
  std::string path;
  for (Index inside = 0; inside < value;) {
    const bool isArray = kind(inside) == Kind::array;
    // Of a member its name comes first.
    const auto pass = [&](Index child) { return after(isArray ? child : child + 1); };
    Index child = inside + 1;
    std::size_t place = 0;
    for (; pass(child) <= value; child = pass(child)) ++place;
    if (isArray) {
      path += "[" + std::to_string(place) + "]";
    } else {
      path.append(path.empty() ? "" : ".").append(text(child++));
    }
    inside = child;
  }
  return path;
}

std::vector<Document::Index> Document::elements(Index array) const {
  std::vector<Index> result;
  result.reserve(size(array));
  const Index end = after(array);
  for (Index value = array + 1; value < end; value = after(value)) result.push_back(value);
  return result;
}

std::vector<std::pair<std::string_view, Document::Index>> Document::members(Index object) const {
  std::vector<std::pair<std::string_view, Index>> result;
  result.reserve(size(object));
  std::unordered_map<std::string_view, std::size_t> places;
  const Index end = after(object);
  for (Index name = object + 1; name < end; name = after(name + 1)) {
    const auto [place, isNew] = places.try_emplace(text(name), result.size());
    if (isNew) {
      result.emplace_back(text(name), name + 1);
    } else {
      result[place->second].second = name + 1;
    }
  }
  return result;
}

Document::Index Document::member(Index object, std::string_view name) const {
  Index found = 0;
  const Index end = after(object);
  for (Index at = object + 1; at < end; at = after(at + 1)) {
    if (text(at) == name) found = at + 1;
  }
  return found;
}

}  // namespace caiexport::json
