#pragma once
/// Starts real programs and looks at what they print and how they end.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace caiexport::support {

using Environment = std::map<std::string, std::string>;

/// A running program whose output goes to two files. Killed and reaped when it goes.
class Process {
 public:
  Process(const std::filesystem::path& program, const std::vector<std::string>& arguments,
          const Environment& environment, std::filesystem::path outputStem)
      : stdout_(outputStem.string() + ".out"), stderr_(outputStem.string() + ".err") {
    std::vector<std::string> words{program.string()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<std::string> settings;
    for (const auto& [name, value] : environment) settings.push_back(name + "=" + value);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, 1, stdout_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::posix_spawn_file_actions_addopen(&actions, 2, stderr_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    // Poco blocks SIGPIPE in this process, and a child inherits what is blocked.
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    const int error = ::posix_spawn(&id_, program.c_str(), &actions, &attributes, pointersTo(words).data(),
                                    pointersTo(settings).data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (error != 0) throw std::system_error(error, std::generic_category(), "cannot start " + program.string());
  }

  ~Process() {
    if (id_ > 0) {
      signal(SIGKILL);
      wait();
    }
  }

  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t id() const { return id_; }
  void signal(int number) const { ::kill(id_, number); }

  /// The exit code; 128 + N if signal N ended it.
  int wait() {
    int status = 0;
    rusage used{};
    while (::wait4(id_, &status, 0, &used) < 0 && errno == EINTR) {
    }
    mostMemory_ = static_cast<std::uint64_t>(used.ru_maxrss) << 10U;
    id_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  /// The most that it held in memory at a time, in bytes; once it has ended.
  std::uint64_t mostMemory() const { return mostMemory_; }

  bool hasEnded() {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(id_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == id_;
  }

  std::string output() const { return contentOf(stdout_); }
  std::string errors() const { return contentOf(stderr_); }

  static std::string contentOf(const std::filesystem::path& file) {
    std::ostringstream text;
    text << std::ifstream(file, std::ios::binary).rdbuf();
    return text.str();
  }

 private:
  static std::vector<char*> pointersTo(std::vector<std::string>& words) {
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    return pointers;
  }

  std::filesystem::path stdout_;
  std::filesystem::path stderr_;
  pid_t id_ = -1;
  std::uint64_t mostMemory_ = 0;
};

/// Waits for an event that another process brings about, looking every few milliseconds; false when it did not come in
/// a minute. The wait ends with the event, so it is as short as the machine allows.
inline bool eventually(const std::function<bool()>& event) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!event()) {
    if (std::chrono::steady_clock::now() > end) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

}  // namespace caiexport::support
