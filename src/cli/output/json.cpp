#include "json.h"

#include "caiexport/core/text.h"

namespace caiexport::cli {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

void appendUnit(std::string& out, unsigned unit) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kDigits[(unit >> static_cast<unsigned>(shift)) & 0xFU];
}

void appendEscaped(std::string& out, char32_t c) {
  if (c >= 0x10000) {
    appendUnit(out, 0xD800U + ((c - 0x10000) >> 10U));
    c = 0xDC00U + ((c - 0x10000) & 0x3FFU);
  }
  appendUnit(out, c);
}

void appendCharacter(std::string& out, std::string_view sequence, char32_t c) {
  if (c == '"' || c == '\\') {
    out.append("\\").append(sequence);
  } else if (c == '\n') {
    out += "\\n";
  } else if (c == '\t') {
    out += "\\t";
  } else if (c == '\r') {
    out += "\\r";
  } else if (!core::mayBeShown(c)) {
    appendEscaped(out, c);
  } else {
    out += sequence;
  }
}

}  // namespace

std::string jsonText(std::string_view text) {
  std::string out = "\"";
  out.reserve(text.size() + 2);
  while (!text.empty()) {
    char32_t codePoint = 0;
    const std::size_t length = core::decodeUtf8(text, codePoint);
    if (length == 0) {
      out += kReplacement;
      text.remove_prefix(1);
    } else {
      appendCharacter(out, text.substr(0, length), codePoint);
      text.remove_prefix(length);
    }
  }
  return out += '"';
}

void JsonWriter::separate() {
  if (afterKey_) {
    afterKey_ = false;
    return;
  }
  if (hasElements_.empty()) return;
  if (hasElements_.back()) sink_(", ");
  hasElements_.back() = true;
}

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  sink_(std::string_view(&bracket, 1));
  hasElements_.push_back(false);
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  hasElements_.pop_back();
  sink_(std::string_view(&bracket, 1));
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  sink_(jsonText(name) + ": ");
  afterKey_ = true;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  sink_(jsonText(text));
  return *this;
}

JsonWriter& JsonWriter::number(std::string_view text) {
  separate();
  sink_(text);
  return *this;
}

JsonWriter& JsonWriter::value(bool flag) {
  return number(flag ? "true" : "false");
}

JsonWriter& JsonWriter::value(std::uint64_t count) {
  return number(std::to_string(count));
}

JsonWriter& JsonWriter::value(std::int64_t count) {
  return number(std::to_string(count));
}

JsonWriter& JsonWriter::null() {
  return number("null");
}

}  // namespace caiexport::cli
