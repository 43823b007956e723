#include "caiexport/reader/table.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "caiexport/core/encoding.h"
#include "caiexport/core/text.h"
#include "report_text.h"

namespace caiexport::reader {
namespace {

constexpr std::string_view kGap = "  ";
constexpr std::size_t kNarrowest = 4;     ///< A column is not made narrower to make room for others.
constexpr std::size_t kWidestFirst = 40;  ///< What a long column gets before all columns are seen.

struct Range {
  char32_t first;
  char32_t last;
};

// Unicode Standard Annex 11 (East Asian Width: W and F), by blocks, and the emoji that terminals draw wide.
constexpr std::array kWide{
    Range{0x1100, 0x115F},   Range{0x231A, 0x231B},   Range{0x2329, 0x232A},   Range{0x23E9, 0x23EC},
    Range{0x23F0, 0x23F0},   Range{0x23F3, 0x23F3},   Range{0x25FD, 0x25FE},   Range{0x2614, 0x2615},
    Range{0x2648, 0x2653},   Range{0x267F, 0x267F},   Range{0x2693, 0x2693},   Range{0x26A1, 0x26A1},
    Range{0x26AA, 0x26AB},   Range{0x26BD, 0x26BE},   Range{0x26C4, 0x26C5},   Range{0x26CE, 0x26CE},
    Range{0x26D4, 0x26D4},   Range{0x26EA, 0x26EA},   Range{0x26F2, 0x26F3},   Range{0x26F5, 0x26F5},
    Range{0x26FA, 0x26FA},   Range{0x26FD, 0x26FD},   Range{0x2705, 0x2705},   Range{0x270A, 0x270B},
    Range{0x2728, 0x2728},   Range{0x274C, 0x274C},   Range{0x274E, 0x274E},   Range{0x2753, 0x2755},
    Range{0x2757, 0x2757},   Range{0x2795, 0x2797},   Range{0x27B0, 0x27B0},   Range{0x27BF, 0x27BF},
    Range{0x2B1B, 0x2B1C},   Range{0x2B50, 0x2B50},   Range{0x2B55, 0x2B55},   Range{0x2E80, 0x303E},
    Range{0x3041, 0x33FF},   Range{0x3400, 0x4DBF},   Range{0x4E00, 0x9FFF},   Range{0xA000, 0xA4CF},
    Range{0xA960, 0xA97F},   Range{0xAC00, 0xD7A3},   Range{0xF900, 0xFAFF},   Range{0xFE10, 0xFE19},
    Range{0xFE30, 0xFE6F},   Range{0xFF00, 0xFF60},   Range{0xFFE0, 0xFFE6},   Range{0x16FE0, 0x18DFF},
    Range{0x1AFF0, 0x1B2FF}, Range{0x1F004, 0x1F004}, Range{0x1F0CF, 0x1F0CF}, Range{0x1F18E, 0x1F18E},
    Range{0x1F191, 0x1F19A}, Range{0x1F200, 0x1F320}, Range{0x1F32D, 0x1F335}, Range{0x1F337, 0x1F37C},
    Range{0x1F37E, 0x1F393}, Range{0x1F3A0, 0x1F3CA}, Range{0x1F3CF, 0x1F3D3}, Range{0x1F3E0, 0x1F3F0},
    Range{0x1F3F4, 0x1F3F4}, Range{0x1F3F8, 0x1F43E}, Range{0x1F440, 0x1F440}, Range{0x1F442, 0x1F4FC},
    Range{0x1F4FF, 0x1F53D}, Range{0x1F54B, 0x1F54E}, Range{0x1F550, 0x1F567}, Range{0x1F57A, 0x1F57A},
    Range{0x1F595, 0x1F596}, Range{0x1F5A4, 0x1F5A4}, Range{0x1F5FB, 0x1F64F}, Range{0x1F680, 0x1F6C5},
    Range{0x1F6CC, 0x1F6CC}, Range{0x1F6D0, 0x1F6D2}, Range{0x1F6D5, 0x1F6D7}, Range{0x1F6DC, 0x1F6DF},
    Range{0x1F6EB, 0x1F6EC}, Range{0x1F6F4, 0x1F6FC}, Range{0x1F7E0, 0x1F7EB}, Range{0x1F7F0, 0x1F7F0},
    Range{0x1F90C, 0x1F93A}, Range{0x1F93C, 0x1F945}, Range{0x1F947, 0x1F9FF}, Range{0x1FA70, 0x1FAFF},
    Range{0x20000, 0x2FFFD}, Range{0x30000, 0x3FFFD},
};

// Marks that stand on the letter before (general categories Mn and Me, in the blocks in common use), and letters
// without width of their own: joiners, direction marks, variation selectors, vowels of Hangul syllables.
constexpr std::array kNoWidth{
    Range{0x00AD, 0x00AD}, Range{0x0300, 0x036F},   Range{0x0483, 0x0489},   Range{0x0591, 0x05BD},
    Range{0x05BF, 0x05BF}, Range{0x05C1, 0x05C2},   Range{0x05C4, 0x05C5},   Range{0x05C7, 0x05C7},
    Range{0x0610, 0x061A}, Range{0x064B, 0x065F},   Range{0x0670, 0x0670},   Range{0x06D6, 0x06DC},
    Range{0x06DF, 0x06E4}, Range{0x06E7, 0x06E8},   Range{0x06EA, 0x06ED},   Range{0x0711, 0x0711},
    Range{0x0730, 0x074A}, Range{0x0900, 0x0902},   Range{0x093A, 0x093A},   Range{0x093C, 0x093C},
    Range{0x0941, 0x0948}, Range{0x094D, 0x094D},   Range{0x0951, 0x0957},   Range{0x0962, 0x0963},
    Range{0x0981, 0x0981}, Range{0x09BC, 0x09BC},   Range{0x09C1, 0x09C4},   Range{0x09CD, 0x09CD},
    Range{0x0A01, 0x0A02}, Range{0x0A3C, 0x0A51},   Range{0x0ABC, 0x0ABC},   Range{0x0AC1, 0x0AC8},
    Range{0x0ACD, 0x0ACD}, Range{0x0BC0, 0x0BC0},   Range{0x0BCD, 0x0BCD},   Range{0x0E31, 0x0E31},
    Range{0x0E34, 0x0E3A}, Range{0x0E47, 0x0E4E},   Range{0x0EB1, 0x0EB1},   Range{0x0EB4, 0x0EBC},
    Range{0x0EC8, 0x0ECE}, Range{0x0F71, 0x0F7E},   Range{0x0F80, 0x0F84},   Range{0x1160, 0x11FF},
    Range{0x135D, 0x135F}, Range{0x1AB0, 0x1AFF},   Range{0x1DC0, 0x1DFF},   Range{0x200B, 0x200F},
    Range{0x202A, 0x202E}, Range{0x2060, 0x2064},   Range{0x2066, 0x206F},   Range{0x20D0, 0x20F0},
    Range{0x302A, 0x302D}, Range{0x3099, 0x309A},   Range{0xFE00, 0xFE0F},   Range{0xFE20, 0xFE2F},
    Range{0xFEFF, 0xFEFF}, Range{0xE0001, 0xE007F}, Range{0xE0100, 0xE01EF},
};

template <std::size_t size>
bool isIn(const std::array<Range, size>& ranges, char32_t letter) {
  const auto next = std::upper_bound(ranges.begin(), ranges.end(), letter,
                                     [](char32_t value, const Range& range) { return value < range.first; });
  return next != ranges.begin() && letter <= std::prev(next)->last;
}

std::size_t widthOf(char32_t letter) {
  if (letter < 0x300) return letter == 0xAD ? 0 : 1;
  if (isIn(kNoWidth, letter)) return 0;
  return isIn(kWide, letter) ? 2 : 1;
}

/// The first letter of printable UTF-8 and its length in bytes.
struct Letter {
  char32_t code;
  std::size_t bytes;
};

Letter firstLetter(std::string_view text) {
  Letter letter{.code = static_cast<unsigned char>(text[0]), .bytes = 0};
  letter.bytes = std::max<std::size_t>(core::decodeUtf8(text, letter.code), 1);
  return letter;
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::size_t used = displayWidth(text);
  const std::string blanks(width > used ? width - used : 0, ' ');
  return right ? blanks + text : text + blanks;
}

std::string repeated(std::string_view piece, std::size_t times) {
  std::string text;
  for (std::size_t count = 0; count < times; ++count) text += piece;
  return text;
}

std::size_t sumWithGaps(const std::vector<std::size_t>& widths) {
  std::size_t sum = widths.empty() ? 0 : (widths.size() - 1) * kGap.size();
  for (const std::size_t width : widths) sum += width;
  return sum;
}

/// The widest columns give way first, down to a common width.
void shrinkTo(std::vector<std::size_t>& widths, std::size_t bound) {
  while (sumWithGaps(widths) > bound) {
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= kNarrowest) return;
    --*widest;
  }
}

/// Widths of the columns that fit, from the first on.
std::vector<std::size_t> fittingWidths(std::vector<std::size_t> natural, std::size_t bound) {
  if (bound == 0 || sumWithGaps(natural) <= bound) return natural;
  std::vector<std::size_t> chosen;
  std::size_t used = 0;
  for (const std::size_t width : natural) {
    const std::size_t wanted = std::min(width, kWidestFirst) + (chosen.empty() ? 0 : kGap.size());
    if (!chosen.empty() && used + wanted > bound) break;
    used += wanted;
    chosen.push_back(std::min(width, kWidestFirst));
  }
  natural.resize(chosen.size());
  // Room that is left goes back to the long columns.
  shrinkTo(natural, std::max(bound, sumWithGaps(chosen)));
  shrinkTo(natural, bound);
  if (natural.size() == 1) natural[0] = std::min(natural[0], bound);
  return natural;
}

std::string withoutBlanksAtEnd(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::atomic<Signs> drawn{Signs::unicode};

/// What is not ASCII as `\xNN`.
std::string asciiOf(std::string_view text) {
  std::string out;
  for (const char letter : text) {
    if (static_cast<unsigned char>(letter) < 0x80) {
      out += letter;
    } else {
      core::appendHex(out.append("\\x"), {&letter, 1}, core::HexDigits::upper);
    }
  }
  return out;
}

/// A cell as it is drawn.
std::string drawnCell(std::string_view cell) {
  return signs() == Signs::unicode ? std::string(cell) : asciiOf(cell);
}

}  // namespace

void drawWith(Signs with) {
  drawn = with;
}

Signs signs() {
  return drawn;
}

std::size_t displayWidth(std::string_view text) {
  // Most is ASCII, and a long table asks for this often.
  if (std::ranges::all_of(text, [](char letter) { return static_cast<unsigned char>(letter) < 0x80; }))
    return text.size();
  std::size_t width = 0;
  while (!text.empty()) {
    const Letter letter = firstLetter(text);
    width += widthOf(letter.code);
    text.remove_prefix(letter.bytes);
  }
  return width;
}

std::string fitTo(std::string_view text, std::size_t width) {
  if (displayWidth(text) <= width) return std::string(text);
  if (width == 0) return {};
  const std::string_view ellipsis = signs() == Signs::unicode ? "…" : width > 3 ? "..." : "~";
  const std::size_t room = width - displayWidth(ellipsis);
  std::size_t used = 0;
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const Letter letter = firstLetter(text.substr(bytes));
    if (used + widthOf(letter.code) > room) break;
    used += widthOf(letter.code);
    bytes += letter.bytes;
  }
  return std::string(text.substr(0, bytes)) + std::string(ellipsis);
}

TableLines::TableLines(std::vector<TableColumn> columns, std::vector<std::size_t> widest, std::size_t width)
    : columns_(std::move(columns)), width_(width) {
  std::vector<std::string> paths;
  for (TableColumn& column : columns_) {
    column.name = drawnCell(column.name);
    paths.push_back(column.name);
  }
  names_ = shortNames(paths);
  for (std::size_t column = 0; column < columns_.size(); ++column) {
    widest[column] = std::max({widest[column], displayWidth(names_[column]), std::size_t{1}});
  }
  widths_ = fittingWidths(std::move(widest), width);
}

std::size_t TableLines::drawnWidth(std::string_view cell) {
  return displayWidth(signs() == Signs::unicode ? cell : std::string_view(asciiOf(cell)));
}

std::string TableLines::lineOf(std::span<const std::string> cells) const {
  std::string line;
  for (std::size_t column = 0; column < widths_.size(); ++column) {
    if (column > 0) line += kGap;
    line += padded(fitTo(cells[column], widths_[column]), widths_[column], columns_[column].alignRight);
  }
  return withoutBlanksAtEnd(line) + "\n";
}

std::string TableLines::head() const {
  if (widths_.empty()) return {};
  std::string rule;
  for (const std::size_t each : widths_) {
    rule += (rule.empty() ? "" : std::string(kGap)) + repeated(signs() == Signs::unicode ? "─" : "-", each);
  }
  return lineOf(names_) + rule + "\n";
}

std::string TableLines::line(std::span<const std::string> cells) const {
  if (widths_.empty()) return {};
  if (signs() == Signs::unicode) return lineOf(cells);
  std::vector<std::string> plain;
  for (const std::string& cell : cells) plain.push_back(asciiOf(cell));
  return lineOf(plain);
}

std::string TableLines::end() const {
  if (widths_.size() == columns_.size()) return {};
  std::string names;
  for (std::size_t column = widths_.size(); column < columns_.size(); ++column) {
    names += (names.empty() ? "" : ", ") + columns_[column].name;
  }
  const std::size_t count = columns_.size() - widths_.size();
  return fitTo(std::to_string(count) + (count == 1 ? " more column: " : " more columns: ") + names, width_) + "\n";
}

std::string renderTable(const Table& table, std::size_t width) {
  std::vector<std::size_t> widest(table.columns.size());
  for (const auto& row : table.rows) {
    for (std::size_t column = 0; column < widest.size(); ++column) {
      widest[column] = std::max(widest[column], TableLines::drawnWidth(row[column]));
    }
  }
  const TableLines lines(table.columns, std::move(widest), width);
  std::string text = lines.head();
  for (const auto& row : table.rows) text += lines.line(row);
  return text + lines.end();
}

}  // namespace caiexport::reader
