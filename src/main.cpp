/// Signals, exit codes and the one place that prints an error. Not a Poco Application: that one parses options in ways
/// cli/options.h tells of, logs exceptions itself and has exit codes of its own.

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <exception>
#include <new>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "caiexport/cli/application.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"

namespace {

using caiexport::core::Category;
using caiexport::core::Error;

constexpr int kInterrupted = 130;

/// A descriptor of 0 to 2 that the caller closed would be taken by the next file opened, which results would then
/// overwrite.
void reserveStandardDescriptors() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) >= 0) continue;
    // Read only: writing to it fails, as it should.
    if (::open("/dev/null", O_RDONLY) < 0) return;
  }
}

/// Memory holds secrets: no core files.
void forbidCoreFiles() {
  const rlimit none{0, 0};
  static_cast<void>(::setrlimit(RLIMIT_CORE, &none));
}

/// Turns SIGINT, SIGTERM and SIGHUP into a stop request; a second one ends the process at once. Made before any other
/// thread, so that all of them inherit the blocked signals.
class SignalWatch {
 public:
  SignalWatch() {
    std::signal(SIGPIPE, SIG_IGN);
    // setrlimit(2): a write beyond the limit on file sizes would kill, the first one of the database too.
    std::signal(SIGXFSZ, SIG_IGN);
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    // nohup ignores it, and it is to stay so: a blocked signal would be taken even then.
    struct sigaction hangUp {};
    if (::sigaction(SIGHUP, nullptr, &hangUp) == 0 && hangUp.sa_handler != SIG_IGN) sigaddset(&signals_, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    thread_ = std::thread([this] { watch(); });
  }

  ~SignalWatch() {
    ended_ = true;
    // Blocked in every thread, so it ends nothing: sigwait() takes it.
    pthread_kill(thread_.native_handle(), SIGTERM);  // NOLINT(bugprone-bad-signal-to-kill-thread)
    thread_.join();
  }

  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  std::stop_token token() const { return stop_.get_token(); }

 private:
  void watch() {
    for (int number = 0; sigwait(&signals_, &number) == 0;) {
      if (ended_) return;
      if (stop_.stop_requested()) ::_exit(kInterrupted);
      stop_.request_stop();
    }
  }

  sigset_t signals_{};
  std::atomic<bool> ended_ = false;
  std::stop_source stop_;
  std::thread thread_;
};

/// Runs the command; its failure, whatever threw it.
std::optional<Error> run(const std::vector<std::string>& words, caiexport::cli::StandardOutput& out,
                         caiexport::cli::Console& console, const std::stop_token& stop) {
  try {
    auto error = caiexport::cli::execute(words, out, console, stop);
    out.flush();
    return error;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(Category::io, "out of memory", {.hint = "close other programs, or lower --connections or --memory"});
  } catch (const std::exception& error) {
    return Error(Category::internal, std::string("a defect of caiexport: ") + error.what(),
                 {.hint = "please report it, with the command and the output of --verbose"});
  }
}

void printFailure(const Error& error, bool json, caiexport::cli::StandardOutput& out,
                  caiexport::cli::Console& console) {
  console.failure(caiexport::cli::failureText(error));
  if (!json || out.used()) return;
  try {
    out.write(caiexport::cli::failureDocument(error));
    out.flush();
  } catch (const Error&) {
    // Standard output does not take it; standard error has it already.
  }
}

}  // namespace

int main(int argc, char** argv) {
  reserveStandardDescriptors();
  forbidCoreFiles();
  const SignalWatch signals;
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  caiexport::cli::StandardOutput out;
  caiexport::cli::Console console;

  const std::optional<Error> error = run(words, out, console, signals.token());
  if (!error) return 0;
  printFailure(*error, caiexport::cli::asksForJson(words), out, console);
  return caiexport::core::exitCodeOf(error->category());
}
