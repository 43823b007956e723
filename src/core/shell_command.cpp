#include "caiexport/core/shell_command.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "caiexport/core/descriptors.h"
#include "caiexport/core/text.h"

extern "C" char** environ;

namespace caiexport::core {
namespace {

constexpr int kLookEveryMs = 20;

/// Input of any length that no reader has to take: the command may end without reading it.
Descriptor inputOf(std::string_view text) {
  Descriptor file(::memfd_create("input", MFD_CLOEXEC));
  while (file.number() >= 0 && !text.empty()) {
    const ssize_t written = ::write(file.number(), text.data(), text.size());
    if (written <= 0) return Descriptor(-1);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (file.number() >= 0) ::lseek(file.number(), 0, SEEK_SET);
  return file;
}

std::vector<char*> environmentWithout(std::span<const std::string_view> names) {
  std::vector<char*> kept;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    if (std::ranges::find(names, name) == names.end()) kept.push_back(*entry);
  }
  kept.push_back(nullptr);
  return kept;
}

/// The three descriptors, default signals, and a group of its own, so that Ctrl-C is ours and a kill reaches all of it.
class Plan {
 public:
  Plan(int input, int output, bool dropErrors) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_adddup2(&actions_, input, 0);
    posix_spawn_file_actions_adddup2(&actions_, output, 1);
    if (dropErrors) posix_spawn_file_actions_addopen(&actions_, 2, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes_);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes_, &signals);
    sigaddset(&signals, SIGPIPE);
    sigaddset(&signals, SIGXFSZ);
    posix_spawnattr_setsigdefault(&attributes_, &signals);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~Plan() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  int start(const ShellCommand& command, pid_t& child) {
    std::string text(command.command);
    std::array<char, 3> shell{'s', 'h', '\0'};
    std::array<char, 3> option{'-', 'c', '\0'};
    const std::array<char*, 4> words{shell.data(), option.data(), text.data(), nullptr};
    const std::vector<char*> environment = environmentWithout(command.withheld);
    return ::posix_spawn(&child, "/bin/sh", &actions_, &attributes_, words.data(), environment.data());
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

/// What the command has written so far, without waiting; the pipe stays open while anything of its group lives.
void takeOutput(int pipe, std::string& output, std::size_t most) {
  std::array<char, 4096> buffer{};
  for (ssize_t count = 0; (count = ::read(pipe, buffer.data(), buffer.size())) > 0;) {
    const auto room = most - std::min(most, output.size());
    output.append(buffer.data(), std::min(static_cast<std::size_t>(count), room));
  }
  ::explicit_bzero(buffer.data(), buffer.size());
}

ShellEnd endOf(int status) {
  if (WIFSIGNALED(status)) return {.kind = ShellEnd::Kind::killed, .code = WTERMSIG(status)};
  return {.kind = ShellEnd::Kind::exited, .code = WEXITSTATUS(status)};
}

}  // namespace

ShellEnd runShellCommand(const ShellCommand& command, const std::stop_token& stop) {
  const Descriptor input = inputOf(command.input);
  std::array<int, 2> ends{-1, -1};
  if (command.keepOutput && ::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return {.code = errno};
  const Descriptor out(ends[0]);
  std::optional<Descriptor> in(ends[1]);
  // The command's end is an ordinary one.
  if (in->number() >= 0) ::fcntl(in->number(), F_SETFL, 0);
  if (input.number() < 0) return {.code = errno};

  pid_t child = -1;
  const int failure =
      Plan(input.number(), command.keepOutput ? in->number() : 2, command.keepOutput).start(command, child);
  if (failure != 0) return {.code = failure};
  in.reset();

  const auto until = std::chrono::steady_clock::now() + command.timeout;
  std::string output;
  output.reserve(command.keepOutput ? command.mostOutput : 0);
  int status = 0;
  ShellEnd end;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    const bool late = std::chrono::steady_clock::now() >= until;
    if (late || stop.stop_requested()) {
      ::kill(-child, SIGKILL);
      while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
      end.kind = late ? ShellEnd::Kind::timedOut : ShellEnd::Kind::interrupted;
      break;
    }
    if (out.number() >= 0) takeOutput(out.number(), output, command.mostOutput);
    ::poll(nullptr, 0, kLookEveryMs);
  }
  if (end.kind == ShellEnd::Kind::notStarted) end = endOf(status);
  if (out.number() >= 0) takeOutput(out.number(), output, command.mostOutput);
  end.output = Secret(std::move(output));
  cleanse(output);
  return end;
}

std::string describe(const ShellEnd& end, Duration timeout) {
  switch (end.kind) {
    case ShellEnd::Kind::exited:
      return "exit code " + std::to_string(end.code);
    case ShellEnd::Kind::killed:
      return "it was killed by signal " + std::to_string(end.code);
    case ShellEnd::Kind::timedOut:
      return "it was killed after " + formatDuration(timeout);
    case ShellEnd::Kind::interrupted:
      return "it was interrupted";
    case ShellEnd::Kind::notStarted:
      return "it could not be started: " + std::string(std::strerror(end.code));
  }
  return {};
}

}  // namespace caiexport::core
