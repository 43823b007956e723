#include "caiexport/json/writer.h"

#include <array>
#include <charconv>
#include <cmath>

#include "caiexport/core/byte_set.h"
#include "caiexport/core/encoding.h"
#include "caiexport/core/text.h"

namespace caiexport::json {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

void appendUnit(std::string& out, unsigned unit) {
  const std::array<char, 2> bytes{static_cast<char>(unit >> 8U), static_cast<char>(unit & 0xFFU)};
  core::appendHex(out.append("\\u"), {bytes.data(), bytes.size()});
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

constexpr core::ByteSet kPlain([](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });

/// False if something had to be replaced.
bool appendQuoted(std::string& out, std::string_view text) {
  bool faithful = true;
  out.reserve(out.size() + text.size() + 2);
  out += '"';
  while (!text.empty()) {
    // Nearly all text is plain.
    const std::size_t plain = kPlain.lengthIn(text);
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    char32_t codePoint = 0;
    const std::size_t length = core::decodeUtf8(text, codePoint);
    if (length == 0) {
      out += kReplacement;
      faithful = false;
      text.remove_prefix(1);
    } else {
      appendCharacter(out, text.substr(0, length), codePoint);
      text.remove_prefix(length);
    }
  }
  out += '"';
  return faithful;
}

}  // namespace

std::string quoted(std::string_view text) {
  std::string out;
  appendQuoted(out, text);
  return out;
}

void Writer::separate() {
  if (afterKey_) {
    afterKey_ = false;
    return;
  }
  if (levels_.empty()) return;
  Level& level = levels_.back();
  if (level.lines) {
    sink_(level.hasElements ? ",\n  " : "\n  ");
  } else if (level.hasElements) {
    sink_(spacing_ == Spacing::wide ? ", " : ",");
  }
  level.hasElements = true;
}

Writer& Writer::open(char bracket, bool lines) {
  separate();
  sink_(std::string_view(&bracket, 1));
  levels_.push_back({.lines = lines});
  return *this;
}

Writer& Writer::close(char bracket) {
  if (levels_.back().lines) sink_("\n");
  levels_.pop_back();
  sink_(std::string_view(&bracket, 1));
  return *this;
}

void Writer::putQuoted(std::string_view text, std::string_view after) {
  piece_.clear();
  faithful_ = appendQuoted(piece_, text) && faithful_;
  sink_(piece_.append(after));
}

Writer& Writer::key(std::string_view name) {
  separate();
  putQuoted(name, spacing_ == Spacing::wide ? ": " : ":");
  afterKey_ = true;
  return *this;
}

Writer& Writer::value(std::string_view text) {
  separate();
  putQuoted(text, {});
  return *this;
}

Writer& Writer::number(std::string_view text) {
  separate();
  sink_(text);
  return *this;
}

Writer& Writer::value(bool flag) {
  return number(flag ? "true" : "false");
}

Writer& Writer::value(std::uint64_t count) {
  return number(std::to_string(count));
}

Writer& Writer::value(std::int64_t count) {
  return number(std::to_string(count));
}

Writer& Writer::value(double amount) {
  if (!std::isfinite(amount)) return null();
  std::array<char, 32> digits{};
  const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), amount).ptr;
  return number({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

Writer& Writer::null() {
  return number("null");
}

}  // namespace caiexport::json
