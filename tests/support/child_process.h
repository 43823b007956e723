#pragma once
/// A forked copy of the test, for what only a second process can show.

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <stdexcept>
#include <system_error>

namespace caiexport::support {

/// Runs `work` in a forked process. Start it before any thread exists. Killed and reaped when it goes.
class ChildProcess {
 public:
  /// What the child uses to talk to its parent.
  class Link {
   public:
    Link(int in, int out) : in_(in), out_(out) {}
    /// Wakes the parent's waitUntilReady().
    void ready() const {
      if (::write(out_, "r", 1) != 1) ::_exit(126);
    }
    /// Until the parent calls release() or is gone.
    void waitForRelease() const {
      char byte = 0;
      while (::read(in_, &byte, 1) < 0 && errno == EINTR) {
      }
    }

   private:
    int in_;
    int out_;
  };

  /// The child's exit status is what `work` returns, or 125 after an exception.
  explicit ChildProcess(const std::function<int(const Link&)>& work) {
    int toChild[2];
    int toParent[2];
    if (::pipe(toChild) != 0 || ::pipe(toParent) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    process_ = ::fork();
    if (process_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (process_ == 0) {
      ::close(toChild[1]);
      ::close(toParent[0]);
      runInChild(work, Link(toChild[0], toParent[1]));
    }
    ::close(toChild[0]);
    ::close(toParent[1]);
    in_ = toParent[0];
    out_ = toChild[1];
  }

  ~ChildProcess() {
    if (process_ > 0) kill();
    ::close(in_);
    ::close(out_);
  }

  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  int id() const { return static_cast<int>(process_); }

  /// Throws when the child ends without having been ready.
  void waitUntilReady() const {
    char byte = 0;
    ssize_t count = -1;
    while ((count = ::read(in_, &byte, 1)) < 0 && errno == EINTR) {
    }
    if (count != 1) throw std::runtime_error("the child process ended too early");
  }

  /// Not by closing alone: a child forked later holds a copy of this end.
  void release() {
    if (::write(out_, "g", 1) != 1) throw std::system_error(errno, std::generic_category(), "write");
  }

  /// As `kill -9` does; returns when the process is gone.
  void kill() {
    ::kill(process_, SIGKILL);
    wait();
  }

  /// The exit status; 128 and more if a signal ended it.
  int wait() {
    int status = 0;
    while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
    process_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  [[noreturn]] static void runInChild(const std::function<int(const Link&)>& work, const Link& link) {
    int status = 125;
    try {
      status = work(link);
    } catch (...) {
      // Reported by the status: the parent's test framework must not run here.
    }
    ::_exit(status);
  }

  pid_t process_ = -1;
  int in_ = -1;
  int out_ = -1;
};

}  // namespace caiexport::support
