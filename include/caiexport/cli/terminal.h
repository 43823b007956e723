#pragma once
/// Standard output for results, standard error for everything else, and how numbers and fields are written there.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "caiexport/core/text.h"

namespace caiexport::cli {

bool isTerminal(int descriptor);

/// Columns of the terminal as it is now, else what COLUMNS says, else 80.
std::size_t terminalWidth(int descriptor);
/// Lines of the terminal as it is now; 0 where that is unknown.
std::size_t terminalHeight(int descriptor);

/// Results. Buffered; for one thread.
class StandardOutput {
 public:
  explicit StandardOutput(int descriptor = 1) : descriptor_(descriptor) {}
  StandardOutput(const StandardOutput&) = delete;
  StandardOutput& operator=(const StandardOutput&) = delete;

  /// False once the reader has closed the pipe: what follows is dropped, quietly. Error(io) for any other failure.
  bool write(std::string_view text);
  bool flush();
  /// Whether anything was written, so that a document has begun.
  bool used() const { return used_; }
  bool terminal() const { return isTerminal(descriptor_); }
  std::size_t width() const { return terminalWidth(descriptor_); }

 private:
  int descriptor_;
  std::string pending_;
  bool closed_ = false;
  bool used_ = false;
};

/// Takes text; false once nobody reads it any more.
using TextSink = std::function<bool(std::string_view)>;

/// A JSON array that can be read as lines, too: each element on a line of its own.
class LineArray {
 public:
  explicit LineArray(TextSink out) : out_(std::move(out)) { out_("["); }
  explicit LineArray(StandardOutput& out) : LineArray([&out](std::string_view text) { return out.write(text); }) {}
  /// To be called before each element; false once the reader of the output is gone.
  bool next() {
    const bool open = out_(any_ ? ",\n" : "");
    any_ = true;
    return open;
  }
  void end() { out_("]\n"); }

 private:
  TextSink out_;
  bool any_ = false;
};

using core::grouped;
/// `1 file`, `24,340 files`.
std::string counted(std::uint64_t number, std::string_view one, std::string_view many);

/// One fact as a line: its name, then from the column `at` on its text. Where a terminal of that `width` (0: there is
/// none) is narrower, the text goes on below itself, or begins below the name; words are never cut.
std::string factLine(std::string_view name, std::string_view text, std::size_t at, std::size_t width);

/// A field of a CSV line: in quotes if need be, printable, and with a `'` before what a spreadsheet would run (a text
/// that begins with `=`, `+`, `-` or `@` and is no number).
std::string csvField(std::string_view text);

/// Lines for people on standard error, with at most one live block below them. Thread safe. Failures to write are
/// ignored: there is nobody to tell.
class Console {
 public:
  enum class Level { quiet, normal, verbose };

  explicit Console(int descriptor = 2) : descriptor_(descriptor) {}
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void setLevel(Level level) { level_ = level; }
  Level level() const { return level_; }
  /// Whether a line may be redrawn in place: a terminal that is not dumb.
  bool canRedraw() const;
  /// Whether colours may be used: as canRedraw, and neither NO_COLOR nor --no-color is set.
  bool coloured() const { return !noColour_ && canRedraw(); }
  void forbidColour() { noColour_ = true; }
  std::size_t width() const { return terminalWidth(descriptor_); }
  bool terminal() const { return isTerminal(descriptor_); }
  /// Whether the terminal's characters are UTF-8.
  bool utf8() const { return utf8_; }
  void setUtf8(bool utf8) { utf8_ = utf8; }

  /// One line, always shown.
  void line(std::string_view text);
  /// Text without a line end, always shown: a question.
  void prompt(std::string_view text);
  /// Lines that tell of a failure, red where colours are; the live block goes.
  void failure(std::string_view text);
  /// One line that --quiet hides.
  void notice(std::string_view text);
  /// Replaces the live block, of one line or several; empty text removes it. Each line is cut to the width that the
  /// terminal has when it is drawn. Only where canRedraw().
  void live(std::string_view text);
  /// One line below the live block, or alone, for about that long; the next one takes its place. A notice where nothing
  /// can be redrawn.
  void remark(std::string_view text, std::chrono::milliseconds time);

 private:
  void writeLocked(std::string_view text) const;
  std::string drawnBlock();

  int descriptor_;
  Level level_ = Level::normal;
  bool noColour_ = false;
  bool utf8_ = true;
  std::mutex mutex_;
  std::string live_;
  std::string remark_;
  std::chrono::steady_clock::time_point remarkEnds_{};
  bool drawn_ = false;  ///< Whether anything is on the screen that the next drawing replaces.
};

}  // namespace caiexport::cli
