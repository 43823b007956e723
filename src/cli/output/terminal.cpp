#include "caiexport/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <system_error>

#include "caiexport/cli/options.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"
#include "caiexport/reader/table.h"

namespace caiexport::cli {
namespace {

constexpr std::size_t kFallbackWidth = 80;
constexpr std::size_t kBufferBytes = 64U << 10U;

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

/// Writes all of `text`; 0, or the error number.
int writeAll(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

bool isTerminal(int descriptor) {
  return ::isatty(descriptor) == 1;
}

std::size_t terminalWidth(int descriptor) {
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const auto columns = core::parseUnsigned(environment("COLUMNS"));
  if (columns && *columns >= 20 && *columns <= 10'000) return static_cast<std::size_t>(*columns);
  return kFallbackWidth;
}

std::size_t terminalHeight(int descriptor) {
  winsize size{};
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 ? size.ws_row : 0;
}

bool StandardOutput::write(std::string_view text) {
  used_ = used_ || !text.empty();
  if (closed_) return false;
  if (pending_.empty() && text.size() >= kBufferBytes) {
    pending_ = text;
    return flush();
  }
  pending_ += text;
  return pending_.size() < kBufferBytes || flush();
}

bool StandardOutput::flush() {
  if (closed_) return false;
  const int error = writeAll(descriptor_, pending_);
  pending_.clear();
  if (error == 0) return true;
  // From here on nothing is written any more, whatever the reason: half a document is not mended by its rest.
  closed_ = true;
  // SIGPIPE is ignored, so a closed pipe is an error number.
  if (error == EPIPE) return false;
  throw core::Error(core::Category::io, "cannot write to standard output: " + std::generic_category().message(error));
}

std::string counted(std::uint64_t number, std::string_view one, std::string_view many) {
  return grouped(number).append(" ").append(number == 1 ? one : many);
}

std::string factLine(std::string_view name, std::string_view text, std::size_t at, std::size_t width) {
  constexpr std::size_t kNarrow = 60;
  constexpr std::size_t kBelow = 4;
  std::string line = "  " + std::string(name);
  const std::size_t padded = std::max(line.size(), at);
  // A path may have several blanks in a row, which wrapping would take away.
  const bool fits = width == 0 || padded + reader::displayWidth(text) <= width || text.find("  ") != text.npos;
  if (!fits && width < kNarrow) {
    return line + "\n" + std::string(kBelow, ' ') + wrapped(text, width - std::min(width, kBelow), kBelow) + "\n";
  }
  line.resize(padded, ' ');
  return line + (fits ? std::string(text) : wrapped(text, width - padded, padded)) + "\n";
}

std::string csvField(std::string_view text) {
  std::string shown = core::printable(text, std::numeric_limits<std::size_t>::max());
  if (core::runsInSpreadsheets(core::trim(shown))) shown.insert(0, "'");
  if (shown.find_first_of(",\"") == shown.npos) return shown;
  std::string out = "\"";
  for (const char c : shown) {
    if (c == '"') out += '"';
    out += c;
  }
  return out += '"';
}

bool Console::canRedraw() const {
  const std::string_view kind = environment("TERM");
  return isTerminal(descriptor_) && !kind.empty() && kind != "dumb";
}

void Console::writeLocked(std::string_view text) const {
  static_cast<void>(writeAll(descriptor_, text));
}

/// The live block, with the cursor at its beginning afterwards: wherever the lines go when the terminal is resized, the
/// next drawing begins where this one began.
std::string Console::drawnBlock() {
  std::string block = live_;
  if (!remark_.empty() && std::chrono::steady_clock::now() < remarkEnds_) {
    block.append(block.empty() ? "" : "\n").append(remark_);
  }
  drawn_ = !block.empty();
  if (block.empty()) return {};
  // One column stays free: some terminals break the line when the last one is used.
  const std::size_t columns = std::max<std::size_t>(width(), 2) - 1;
  const std::size_t rows = terminalHeight(descriptor_);
  const std::size_t most = rows > 1 ? rows - 1 : rows == 1 ? 1 : block.size();
  std::string out;
  std::size_t lines = 0;
  for (std::string_view rest = block; !rest.empty() && lines < most; ++lines) {
    const std::string_view one = rest.substr(0, rest.find('\n'));
    out.append(lines == 0 ? "" : "\r\n").append(reader::fitTo(one, columns)).append("\033[K");
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
  }
  out += "\033[J\r";
  if (lines > 1) out += "\033[" + std::to_string(lines - 1) + "A";
  return out;
}

void Console::line(std::string_view text) {
  const std::lock_guard lock(mutex_);
  std::string out = drawn_ ? "\r\033[J" : "";
  out.append(text).append("\n").append(drawnBlock());
  writeLocked(out);
}

void Console::prompt(std::string_view text) {
  const std::lock_guard lock(mutex_);
  writeLocked(text);
}

void Console::failure(std::string_view text) {
  live({});
  const std::string shown(text);
  line(coloured() ? "\033[31m" + shown + "\033[0m" : shown);
}

void Console::notice(std::string_view text) {
  if (level_ != Level::quiet) line(text);
}

void Console::live(std::string_view text) {
  if (level_ == Level::quiet || !canRedraw()) return;
  const std::lock_guard lock(mutex_);
  live_ = text;
  if (text.empty()) remark_.clear();
  const bool before = drawn_;
  const std::string block = drawnBlock();
  if (!block.empty()) {
    writeLocked("\r" + block);
  } else if (before) {
    writeLocked("\r\033[J");
  }
}

void Console::remark(std::string_view text, std::chrono::milliseconds time) {
  if (!canRedraw()) return notice(text);
  if (level_ == Level::quiet) return;
  const std::lock_guard lock(mutex_);
  remark_ = text;
  remarkEnds_ = std::chrono::steady_clock::now() + time;
  writeLocked("\r" + drawnBlock());
}

}  // namespace caiexport::cli
