#include "roff.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "caiexport/cli/options.h"

namespace caiexport::tools {
namespace {

/// The code point that valid UTF-8 begins with at `at`, which moves behind it.
std::uint32_t nextCodePoint(std::string_view text, std::size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  if (lead < 0xC0) return lead;
  std::uint32_t point = lead < 0xE0 ? lead & 0x1FU : lead < 0xF0 ? lead & 0x0FU : lead & 0x07U;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80) {
    point = point << 6U | (static_cast<unsigned char>(text[at++]) & 0x3FU);
  }
  return point;
}

std::string hexadecimal(std::uint32_t number) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string digits;
  for (; number > 0 || digits.size() < 4; number >>= 4U) digits.insert(digits.begin(), kDigits[number & 0xFU]);
  return digits;
}

std::string upper(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char letter) {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
  });
  return out;
}

/// Source lines of a moderate length, for those who read them.
std::string filled(std::string_view text) {
  constexpr std::size_t kWidth = 76;
  return roff(cli::wrapped(text, kWidth, 0));
}

std::string inQuotes(std::string_view text) {
  return "\"" + roff(text) + "\"";
}

}  // namespace

std::string roff(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const bool lineStart = out.empty() || out.back() == '\n';
    const std::uint32_t point = nextCodePoint(text, at);
    if (lineStart && (point == '.' || point == '\'')) out += "\\&";
    switch (point) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '"':
        out += "\\(dq";
        break;
      case '\'':
        out += "\\(aq";
        break;
      case '`':
        out += "\\(ga";
        break;
      case ',':
        // Long lists without blanks may be broken here.
        out += at < text.size() && text[at] != ' ' && text[at] != '\n' ? ",\\:" : ",";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      default:
        if (point < 0x80) {
          out += static_cast<char>(point);
        } else {
          out += "\\[u" + hexadecimal(point) + "]";
        }
    }
  }
  return out;
}

Page::Page(std::string_view name, std::string_view date, std::string_view version) {
  line(".\\\" Made by the build from the tables of options.");
  line(".TH " + inQuotes(upper(name)) + " 1 \"" + std::string(date) + "\" " +
       inQuotes("caiexport " + std::string(version)));
  line(".ad l");
  line(".nh");
}

void Page::section(std::string_view title) {
  line(".SH " + inQuotes(title));
  fresh_ = true;
}

void Page::subsection(std::string_view title) {
  line(".SS " + inQuotes(title));
  fresh_ = true;
}

void Page::paragraph(std::string_view text) {
  if (!fresh_) line(".PP");
  line(filled(text));
  fresh_ = false;
}

void Page::heading(std::string_view text) {
  if (!fresh_) line(".PP");
  line(".B " + roff(text));
  fresh_ = false;
}

void Page::item(std::string_view name, std::string_view placeholder, std::string_view text) {
  line(".TP");
  line("\\fB" + roff(name) + "\\fR" + (placeholder.empty() ? "" : " \\fI" + roff(placeholder) + "\\fR"));
  line(filled(text));
  fresh_ = false;
}

void Page::lines(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  if (!fresh_) line(".PP");
  line(".RS 2");
  line(".nf");
  line(roff(text));
  line(".fi");
  line(".RE");
  fresh_ = false;
}

}  // namespace caiexport::tools
