#include "prompt.h"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"
#include "caiexport/core/text.h"

namespace caiexport::cli {

namespace {

/// Becomes readable when a stop is requested, so that poll() can wait for it.
class StopPipe {
 public:
  explicit StopPipe(const std::stop_token& stop) : opened_(::pipe2(ends_.data(), O_CLOEXEC) == 0) {
    if (!opened_) throw core::Error(core::Category::io, "cannot make a pipe to wait on");
    callback_.emplace(stop, Wake{ends_[1]});
  }
  ~StopPipe() {
    callback_.reset();
    for (const int end : ends_) ::close(end);
  }
  StopPipe(const StopPipe&) = delete;
  StopPipe& operator=(const StopPipe&) = delete;
  int descriptor() const { return ends_[0]; }

 private:
  struct Wake {
    int end;
    void operator()() const { static_cast<void>(!::write(end, "x", 1)); }
  };
  std::array<int, 2> ends_{};
  bool opened_;
  std::optional<std::stop_callback<Wake>> callback_;
};

class EchoOff {
 public:
  explicit EchoOff(int descriptor) : descriptor_(descriptor) {
    if (::tcgetattr(descriptor_, &before_) != 0) {
      throw core::Error(core::Category::io, "cannot switch the terminal's echo off",
                        {.hint = "set CAIEXPORT_CLIENT_SECRET and use --no-input"});
    }
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    // What was typed before the question was shown is dropped: it is on the screen already.
    ::tcsetattr(descriptor_, TCSAFLUSH, &silent);
  }
  ~EchoOff() { ::tcsetattr(descriptor_, TCSANOW, &before_); }
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;

 private:
  int descriptor_;
  termios before_{};
};

}  // namespace

Prompt::Prompt(Console& console, std::stop_token stop, int descriptor)
    : console_(console), stop_(std::move(stop)), descriptor_(descriptor) {}

bool Prompt::possible() const {
  return isTerminal(descriptor_) && console_.terminal();
}

std::string Prompt::readLine() {
  const StopPipe stopped(stop_);
  while (true) {
    if (const std::size_t end = typed_.find('\n'); end != std::string::npos) {
      std::string line = typed_.substr(0, end);
      std::string rest = typed_.substr(end + 1);
      core::cleanse(typed_);
      typed_ = std::move(rest);
      return line;
    }
    std::array<pollfd, 2> events{{{descriptor_, POLLIN, 0}, {stopped.descriptor(), POLLIN, 0}}};
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) {
      throw core::Error(core::Category::io, "cannot wait for an answer");
    }
    if (stop_.stop_requested()) {
      console_.prompt("\n");
      throw core::Interrupted();
    }
    if (events[0].revents == 0) continue;
    std::array<char, 4096> piece{};
    const ssize_t got = ::read(descriptor_, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      console_.prompt("\n");
      throw core::Error(core::Category::usage, "the input ended before all questions were answered");
    }
    typed_.append(piece.data(), static_cast<std::size_t>(got));
    piece.fill(0);
  }
}

std::string Prompt::ask(const std::string& question, const std::string& otherwise) {
  console_.prompt(question + (otherwise.empty() ? "" : " [" + core::printable(otherwise, 200) + "]") + ": ");
  const std::string line = readLine();
  const std::string_view answer = core::trim(line);
  return answer.empty() ? otherwise : std::string(answer);
}

core::Secret Prompt::askHidden(const std::string& question) {
  const EchoOff silent(descriptor_);
  console_.prompt(question + ": ");
  std::string line = readLine();
  console_.prompt("\n");
  core::Secret answer{std::string(core::trim(line))};
  core::cleanse(line);
  return answer;
}

}  // namespace caiexport::cli
