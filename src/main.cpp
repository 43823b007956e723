/// The program as a Poco application: signals, exit codes and the one place that prints an error. Poco sees no word of
/// the command line but the program's name: its option parser takes slips of the finger for something else (see
/// cli/options.h). Nothing is thrown out of main(), so that neither its log nor its exit codes come into play.

#include <Poco/Exception.h>
#include <Poco/Util/Application.h>
#include <Poco/Util/OptionSet.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <exception>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "caiexport/cli/application.h"
#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"
#include "caiexport/core/memory.h"

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
    // Under nohup SIGHUP is ignored. Blocking it would make sigwait() receive it all the same, so leave it out.
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

Error defect(const std::exception& error) {
  return {Category::internal,
          std::string("a defect of caiexport: ") + error.what(),
          {.hint = "please report it, with the command and the output of --verbose"}};
}

/// Runs the command; its failure, whatever threw it.
std::optional<Error> run(const std::vector<std::string>& words, caiexport::cli::StandardOutput& out,
                         caiexport::cli::Console& console, const std::stop_token& stop) {
  try {
    auto error = caiexport::cli::execute(words, out, console, stop);
    out.flush();
    return error;
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    const std::optional<Error> scarce = caiexport::core::scarcityIn(error);
    return scarce ? *scarce : defect(error);
  }
}

void printFailure(const Error& error, bool json, caiexport::cli::StandardOutput& out,
                  caiexport::cli::Console& console) {
  console.failure(caiexport::cli::failureText(error, console.level() == caiexport::cli::Console::Level::verbose));
  if (!json || out.used()) return;
  try {
    out.write(caiexport::cli::failureDocument(error));
    out.flush();
  } catch (const Error&) {
    // Standard output does not take it; standard error has it already.
  }
}

int perform(const std::vector<std::string>& words, const std::stop_token& stop) {
  caiexport::cli::StandardOutput out;
  caiexport::cli::Console console;
  const std::optional<Error> error = run(words, out, console, stop);
  if (!error) return 0;
  printFailure(*error, caiexport::cli::asksForJson(words), out, console);
  return caiexport::core::exitCodeOf(error->category());
}

class Caiexport final : public Poco::Util::Application {
 public:
  Caiexport(std::vector<std::string> words, std::stop_token stop) : words_(std::move(words)), stop_(std::move(stop)) {}

 protected:
  void defineOptions(Poco::Util::OptionSet&) override {}
  int main(const ArgVec&) override { return perform(words_, stop_); }

 private:
  std::vector<std::string> words_;
  std::stop_token stop_;
};

/// With a slash, as Poco would look for it in PATH otherwise, and throw where there is none.
std::string programName(const char* const* argv) {
  const std::string name = *argv == nullptr ? "caiexport" : *argv;
  return name.find('/') == name.npos ? "./" + name : name;
}

/// Where nothing can be counted on any more: not on memory, nor on a thread.
int lastWord(const std::exception& error) {
  const std::optional<Error> scarce = caiexport::core::scarcityIn(error);
  const Error known = scarce ? *scarce : defect(error);
  const std::string text = caiexport::cli::failureText(known);
  static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
  return caiexport::core::exitCodeOf(known.category());
}

int runProgram(int argc, char** argv) {
#ifdef __GLIBC__
  // Each thread reserves room of its own otherwise, which counts against a limit on the address space.
  if (caiexport::core::addressSpaceLeft()) ::mallopt(M_ARENA_MAX, 2);
#endif
  const SignalWatch signals;
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  try {
    Caiexport application(words, signals.token());
    application.init({programName(argv)});
    return application.run();
  } catch (const Poco::Exception&) {
    // An application wants to know the current folder, which may be gone.
    return perform(words, signals.token());
  }
}

}  // namespace

int main(int argc, char** argv) {
  reserveStandardDescriptors();
  forbidCoreFiles();
  try {
    return runProgram(argc, argv);
  } catch (const std::exception& error) {
    return lastWord(error);
  }
}
