#pragma once
/// JSON text as it is made, without a tree in memory.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace caiexport::cli {

/// Writes one document. Text that is not UTF-8 has U+FFFD in the place of what is broken; what may not be shown
/// (core::mayBeShown) is escaped, so that the document is safe on a terminal and means the same as before.
class JsonWriter {
 public:
  /// Called with pieces of the text, in order.
  using Sink = std::function<void(std::string_view)>;
  explicit JsonWriter(Sink sink) : sink_(std::move(sink)) {}

  JsonWriter& beginObject() { return open('{'); }
  JsonWriter& endObject() { return close('}'); }
  JsonWriter& beginArray() { return open('['); }
  JsonWriter& endArray() { return close(']'); }
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool flag);
  JsonWriter& value(std::uint64_t number);
  JsonWriter& value(std::int64_t number);
  /// A number that is text already.
  JsonWriter& number(std::string_view text);
  JsonWriter& null();
  template <class Type>
  JsonWriter& value(const std::optional<Type>& maybe) {
    return maybe ? value(*maybe) : null();
  }
  /// Null for empty text.
  JsonWriter& textOrNull(std::string_view text) { return text.empty() ? null() : value(text); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();

  Sink sink_;
  std::vector<bool> hasElements_;
  bool afterKey_ = false;
};

/// `text` in quotes, escaped.
std::string jsonText(std::string_view text);

}  // namespace caiexport::cli
