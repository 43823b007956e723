#include "child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/error.h"

extern "C" char** environ;

namespace caiexport::objects {
namespace {

using core::Category;
using core::Descriptor;
using core::Error;

constexpr int kLookEveryMs = 20;
// A program that was told to stop has so long to put its things in order.
constexpr auto kGrace = std::chrono::seconds(3);
// A list of about a million objects.
constexpr std::size_t kMostOutput = std::size_t{256} << 20U;
constexpr std::size_t kLongestLine = std::size_t{64} << 10U;

std::string pathOf(const std::string& program) {
  if (program.find('/') != program.npos) return program;
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::string folder(rest.substr(0, rest.find(':')));
    rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
    std::string file = folder;
    file.append("/").append(program);
    if (!folder.empty() && ::access(file.c_str(), X_OK) == 0) return file;
  }
  throw Error(Category::config, "there is no program '" + program + "' in PATH",
              {.hint = "install " + program + ", or add its folder to PATH"});
}

[[noreturn]] void throwNotStarted(const std::string& program, int errorNumber) {
  throw Error(Category::io, "cannot start " + program + ": " + std::strerror(errorNumber));
}

Descriptor inputOf(std::string_view text) {
  Descriptor file(::memfd_create("input", MFD_CLOEXEC));
  while (file.valid() && !text.empty()) {
    const ssize_t written = core::untilDone([&] { return ::write(file.number(), text.data(), text.size()); });
    if (written <= 0) return {};
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (file.valid()) ::lseek(file.number(), 0, SEEK_SET);
  return file;
}

struct Pipe {
  Descriptor out;
  Descriptor in;

  static Pipe make(const std::string& program) {
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throwNotStarted(program, errno);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return {.out = Descriptor(ends[0]), .in = Descriptor(ends[1])};
  }
};

/// Made before the fork: behind it nothing may allocate.
class Words {
 public:
  explicit Words(std::vector<std::string> words) : words_(std::move(words)) {
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  char** get() { return pointers_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

std::vector<std::string> environmentOf(const Child& child) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    const auto isOurs = [&](const auto& one) { return one.first == name; };
    if (std::ranges::none_of(child.environment, isOurs)) all.emplace_back(text);
  }
  for (const auto& [name, value] : child.environment) {
    if (!value.empty()) all.emplace_back(name).append("=").append(value);
  }
  return all;
}

/// A group of its own, so that Ctrl-C is ours and a kill reaches all of it; killed when the thread that started it
/// ends, however that ends.
[[noreturn]] void become(const char* file, Words& words, Words& environment, int input, int output, int errors,
                         pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGPIPE, SIGXFSZ, SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_DFL);
  if (::dup2(input, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(errors, 2) < 0) ::_exit(127);
  ::execve(file, words.get(), environment.get());
  ::_exit(126);
}

/// Owns the process: whatever happens here, it does not go on and leaves no zombie.
class Running {
 public:
  explicit Running(pid_t process) : process_(process) {}
  ~Running() {
    if (process_ > 0) kill();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  /// The exit code once it has ended.
  std::optional<int> ended() {
    int status = 0;
    if (core::untilDone([&] { return ::waitpid(process_, &status, WNOHANG); }) != process_) return std::nullopt;
    // What it may have started is left without it.
    ::kill(-process_, SIGKILL);
    process_ = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  void signal(int number) const { ::kill(-process_, number); }

 private:
  void kill() {
    ::kill(-process_, SIGKILL);
    ::kill(process_, SIGKILL);
    int status = 0;
    core::untilDone([&] { return ::waitpid(process_, &status, 0); });
  }

  pid_t process_;
};

/// Cuts what comes into lines.
class Lines {
 public:
  explicit Lines(const std::function<void(std::string_view)>& take) : take_(take) {}
  void add(std::string_view text) {
    for (const char letter : text) {
      if (letter == '\n') {
        end();
      } else if (line_.size() < kLongestLine) {
        line_ += letter;
      }
    }
  }
  void end() {
    if (!line_.empty() && take_) take_(line_);
    line_.clear();
  }

 private:
  const std::function<void(std::string_view)>& take_;
  std::string line_;
};

template <class Take>
void drain(int pipe, const Take& take) {
  std::array<char, 16384> buffer{};
  for (ssize_t count = 0; (count = ::read(pipe, buffer.data(), buffer.size())) > 0;) {
    take(std::string_view(buffer.data(), static_cast<std::size_t>(count)));
  }
}

}  // namespace

ChildEnd run(const Child& child, const std::stop_token& stop) {
  const std::string& program = child.words.front();
  const std::string file = pathOf(program);
  const Descriptor input = inputOf(child.input);
  if (!input.valid()) throwNotStarted(program, errno);
  Pipe output = Pipe::make(program);
  Pipe errors = Pipe::make(program);
  Words words(child.words);
  Words environment(environmentOf(child));
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process < 0) throwNotStarted(program, errno);
  if (process == 0) {
    become(file.c_str(), words, environment, input.number(), output.in.number(), errors.in.number(), parent);
  }
  ::setpgid(process, process);  // whoever of the two comes first
  Running running(process);
  output.in = Descriptor();
  errors.in = Descriptor();

  ChildEnd end;
  Lines lines(child.onErrorLine);
  std::optional<std::chrono::steady_clock::time_point> until;
  const auto take = [&] {
    drain(output.out.number(), [&](std::string_view text) { end.output += text; });
    drain(errors.out.number(), [&](std::string_view text) { lines.add(text); });
  };
  for (std::optional<int> code; !code;) {
    std::array<pollfd, 2> waits{{{output.out.number(), POLLIN, 0}, {errors.out.number(), POLLIN, 0}}};
    ::poll(waits.data(), waits.size(), kLookEveryMs);
    // Both closed: the end is near, and poll would not wait for it.
    if ((waits[0].revents & waits[1].revents & POLLHUP) != 0) ::poll(nullptr, 0, 1);
    code = running.ended();
    take();
    if (end.output.size() > kMostOutput) throw Error(Category::io, program + " printed more than can be taken");
    if (code) end.code = *code;
    if (!code && stop.stop_requested()) {
      const auto now = std::chrono::steady_clock::now();
      if (!until) running.signal(SIGTERM);
      until = until.value_or(now + kGrace);
      if (now >= *until) throw core::Interrupted();
    }
  }
  lines.end();
  if (until) throw core::Interrupted();
  return end;
}

}  // namespace caiexport::objects
