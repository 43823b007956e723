#pragma once
/// A program at a pseudo-terminal, and what its output makes of a screen.

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "support/process.h"

namespace caiexport::support {

/// The few control sequences that the program uses, carried out. Lines that scroll out at the top are kept.
class Screen {
 public:
  explicit Screen(std::size_t columns) : columns_(columns) {}

  void resize(std::size_t columns) { columns_ = columns; }

  void put(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
      if (text[i] == '\033') {
        const std::size_t end = text.find_first_of("ABCDHJKmhl", i + 2);
        if (end == std::string_view::npos) return;
        escape(text[end], std::string(text.substr(i + 2, end - i - 2)));
        i = end + 1;
        continue;
      }
      std::size_t length = 1;
      while (i + length < text.size() && (static_cast<unsigned char>(text[i + length]) & 0xC0U) == 0x80) ++length;
      letter(text.substr(i, length));
      i += length;
    }
  }

  std::vector<std::string> lines() const {
    std::vector<std::string> result;
    for (const auto& cells : rows_) {
      std::string line;
      for (const std::string& cell : cells) line += cell;
      line.erase(line.find_last_not_of(' ') + 1);
      result.push_back(line);
    }
    while (!result.empty() && result.back().empty()) result.pop_back();
    return result;
  }

  std::string text() const {
    std::string all;
    for (const std::string& line : lines()) all += line + "\n";
    return all;
  }

 private:
  std::vector<std::string>& row() {
    while (rows_.size() <= row_) rows_.emplace_back();
    return rows_[row_];
  }

  void letter(std::string_view one) {
    if (one == "\r") {
      column_ = 0;
    } else if (one == "\n") {
      ++row_;
    } else {
      if (column_ >= columns_) {
        column_ = 0;
        ++row_;
      }
      auto& cells = row();
      if (cells.size() <= column_) cells.resize(column_ + 1, " ");
      cells[column_++] = one;
    }
  }

  void escape(char what, const std::string& argument) {
    if (what == 'K') row().resize(std::min(row().size(), column_));
    if (what == 'J') {
      row().resize(std::min(row().size(), column_));
      rows_.resize(row_ + 1);
    }
    if (what == 'A') row_ -= std::min<std::size_t>(row_, argument.empty() ? 1 : std::stoul(argument));
  }

  std::size_t columns_;
  std::vector<std::vector<std::string>> rows_;
  std::size_t row_ = 0;
  std::size_t column_ = 0;
};

/// A running program whose standard streams are a pseudo-terminal. Killed and reaped when it goes.
class TerminalProcess {
 public:
  TerminalProcess(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                  const Environment& environment, unsigned short columns)
      : screen_(columns) {
    std::vector<std::string> words{program.string()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<std::string> settings;
    for (const auto& [name, value] : environment) settings.push_back(name + "=" + value);
    std::vector<char*> wordPointers = pointersTo(words);
    std::vector<char*> settingPointers = pointersTo(settings);
    const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    id_ = ::forkpty(&terminal_, nullptr, nullptr, &size);
    if (id_ < 0) throw std::system_error(errno, std::generic_category(), "cannot make a pseudo-terminal");
    if (id_ == 0) {
      // Poco blocks SIGPIPE in this process, and a child inherits what is blocked.
      sigset_t none;
      sigemptyset(&none);
      ::sigprocmask(SIG_SETMASK, &none, nullptr);
      ::execve(program.c_str(), wordPointers.data(), settingPointers.data());
      ::_exit(127);
    }
  }

  ~TerminalProcess() {
    if (id_ > 0) {
      ::kill(id_, SIGKILL);
      wait();
    }
    ::close(terminal_);
  }

  TerminalProcess(const TerminalProcess&) = delete;
  TerminalProcess& operator=(const TerminalProcess&) = delete;

  void type(std::string_view text) const { static_cast<void>(!::write(terminal_, text.data(), text.size())); }

  void resize(unsigned short columns) {
    const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    ::ioctl(terminal_, TIOCSWINSZ, &size);
    screen_.resize(columns);
  }

  /// Whether the terminal shows what is typed.
  bool echoes() const {
    termios modes{};
    return ::tcgetattr(terminal_, &modes) == 0 && (modes.c_lflag & ECHO) != 0;
  }

  /// Reads until `text` has come since the last call; false if it did not come in a minute, or the program ended.
  bool waitFor(std::string_view text) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (true) {
      if (const std::size_t at = output_.find(text, seen_); at != std::string::npos) {
        seen_ = at + text.size();
        return true;
      }
      if (std::chrono::steady_clock::now() > end || !readSome()) return false;
    }
  }

  /// Reads what is left; the exit code, 128 + N if signal N ended it.
  int finish() {
    while (readSome()) {
    }
    return wait();
  }

  /// All that came so far.
  const std::string& output() const { return output_; }
  std::size_t seen() const { return seen_; }
  const Screen& screen() const { return screen_; }

 private:
  /// False at the end.
  bool readSome() {
    pollfd event{terminal_, POLLIN, 0};
    constexpr int kMostMs = 60'000;
    if (::poll(&event, 1, kMostMs) <= 0) return false;
    std::array<char, 4096> piece{};
    const ssize_t got = ::read(terminal_, piece.data(), piece.size());
    // Linux: EIO when the other side is closed.
    if (got <= 0) return false;
    output_.append(piece.data(), static_cast<std::size_t>(got));
    drawWhole();
    return true;
  }

  /// A piece may end within a control sequence or a letter.
  void drawWhole() {
    std::size_t end = output_.size();
    const std::size_t escape = output_.rfind('\033');
    if (escape != std::string::npos && escape >= drawn_ &&
        output_.find_first_of("ABCDHJKmhl", std::min(escape + 2, output_.size())) == std::string::npos) {
      end = escape;
    }
    std::size_t lead = end;
    while (lead > drawn_ && (static_cast<unsigned char>(output_[lead - 1]) & 0xC0U) == 0x80) --lead;
    if (lead > drawn_ && static_cast<unsigned char>(output_[lead - 1]) >= 0xC0) {
      const auto first = static_cast<unsigned char>(output_[lead - 1]);
      const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
      if (lead - 1 + length > end) end = lead - 1;
    }
    screen_.put(std::string_view(output_).substr(drawn_, end - drawn_));
    drawn_ = end;
  }

  int wait() {
    int status = 0;
    while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
    }
    id_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  static std::vector<char*> pointersTo(std::vector<std::string>& words) {
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    return pointers;
  }

  int terminal_ = -1;
  pid_t id_ = -1;
  std::string output_;
  std::size_t seen_ = 0;
  std::size_t drawn_ = 0;
  Screen screen_;
};

}  // namespace caiexport::support
