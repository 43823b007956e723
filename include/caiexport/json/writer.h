#pragma once
/// JSON text as it is made, without a tree in memory.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace caiexport::json {

/// `text` in quotes, escaped. What is not UTF-8 becomes U+FFFD; what may not be shown (core::mayBeShown: control
/// characters, C1 and bidirectional ones) is escaped, so that the text is safe on a terminal and means the same as
/// before.
std::string quoted(std::string_view text);

enum class Spacing {
  wide,    ///< `{"a": 1, "b": 2}`, for people too.
  compact  ///< `{"a":1,"b":2}`
};

/// Writes one document, in time in proportion to it.
class Writer {
 public:
  /// Called with pieces of the text, in order.
  using Sink = std::function<void(std::string_view)>;
  explicit Writer(Sink sink, Spacing spacing = Spacing::wide) : sink_(std::move(sink)), spacing_(spacing) {}
  /// Appends to `text`.
  explicit Writer(std::string& text, Spacing spacing = Spacing::wide)
      : Writer([&text](std::string_view piece) { text += piece; }, spacing) {}

  Writer& beginObject() { return open('{', false); }
  Writer& endObject() { return close('}'); }
  Writer& beginArray() { return open('[', false); }
  /// Each element begins on a line of its own.
  Writer& beginLines() { return open('[', true); }
  Writer& endArray() { return close(']'); }
  Writer& key(std::string_view name);

  Writer& value(std::string_view text);
  Writer& value(const std::string& text) { return value(std::string_view(text)); }
  Writer& value(const char* text) { return value(std::string_view(text)); }
  Writer& value(bool flag);
  Writer& value(std::uint64_t number);
  Writer& value(std::int64_t number);
  /// In the fewest digits that read back the same; null where it is not finite, which JSON can't say.
  Writer& value(double number);
  /// A number that is text already.
  Writer& number(std::string_view text);
  Writer& null();
  template <class Type>
  Writer& value(const std::optional<Type>& maybe) {
    return maybe ? value(*maybe) : null();
  }
  /// An array of values: what `value` makes of each item.
  template <class Items, class Value = std::identity>
  Writer& array(const Items& items, Value valueOf = {}) {
    beginArray();
    for (const auto& item : items) value(std::invoke(valueOf, item));
    return endArray();
  }
  /// An array of objects: `members` writes what is in that of each item.
  template <class Items, class Members>
  Writer& objects(const Items& items, Members members) {
    beginArray();
    for (const auto& item : items) {
      beginObject();
      members(item);
      endObject();
    }
    return endArray();
  }
  /// False once a text was not UTF-8, and so could not be written as it is.
  bool isFaithful() const { return faithful_; }
  /// Null for empty text.
  Writer& textOrNull(std::string_view text) { return text.empty() ? null() : value(text); }

 private:
  struct Level {
    bool lines = false;
    bool hasElements = false;
  };
  Writer& open(char bracket, bool lines);
  Writer& close(char bracket);
  void separate();
  void putQuoted(std::string_view text, std::string_view after);

  Sink sink_;
  Spacing spacing_;
  std::vector<Level> levels_;
  std::string piece_;  ///< What is put together at the moment.
  bool afterKey_ = false;
  bool faithful_ = true;
};

}  // namespace caiexport::json
