#include "json.h"

namespace caiexport::cli {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

/// Length of the valid UTF-8 sequence at the front (The Unicode Standard, table 3-7); 0 if there is none.
std::size_t sequenceLength(std::string_view text) {
  const auto byteAt = [text](std::size_t i) -> unsigned { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byteAt(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < length) return 0;
  const unsigned second = byteAt(1);
  const unsigned least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (second < least || second > most) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byteAt(i) & 0xC0U) != 0x80) return 0;
  }
  return length;
}

void appendEscaped(std::string& out, unsigned codePoint) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\u00";
  out += kDigits[codePoint >> 4U];
  out += kDigits[codePoint & 0xFU];
}

void appendCharacter(std::string& out, std::string_view sequence) {
  const auto lead = static_cast<unsigned char>(sequence[0]);
  const bool c1 = sequence.size() == 2 && lead == 0xC2 && static_cast<unsigned char>(sequence[1]) < 0xA0;
  if (c1) {
    appendEscaped(out, static_cast<unsigned char>(sequence[1]));
  } else if (sequence == "\"" || sequence == "\\") {
    out.append("\\").append(sequence);
  } else if (sequence == "\n") {
    out += "\\n";
  } else if (sequence == "\t") {
    out += "\\t";
  } else if (sequence == "\r") {
    out += "\\r";
  } else if (lead < 0x20 || lead == 0x7F) {
    appendEscaped(out, lead);
  } else {
    out += sequence;
  }
}

}  // namespace

std::string jsonText(std::string_view text) {
  std::string out = "\"";
  out.reserve(text.size() + 2);
  while (!text.empty()) {
    const std::size_t length = sequenceLength(text);
    if (length == 0) {
      out += kReplacement;
      text.remove_prefix(1);
    } else {
      appendCharacter(out, text.substr(0, length));
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
