/// caiexport-measured-run: runs a program and writes what it took, for scripts/bench.
///
///   REPORT PROGRAM [ARGUMENT...]
///
/// Writes `SECONDS USER_SECONDS SYSTEM_SECONDS PEAK_KIB` to the file REPORT and ends with the program's exit code. A
/// program of its own, and a small one: Linux counts the memory of the process that started a program as the program's
/// peak (getrusage(2) of the child keeps the largest resident set seen before exec), which would be an interpreter's.

#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace {

double secondsOf(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    std::fputs("usage: caiexport-measured-run REPORT PROGRAM [ARGUMENT...]\n", stderr);
    return 2;
  }
  const auto began = std::chrono::steady_clock::now();
  pid_t child = -1;
  const int error = ::posix_spawnp(&child, arguments[2], nullptr, nullptr, arguments + 2, environ);
  if (error != 0) {
    std::fprintf(stderr, "caiexport-measured-run: cannot start %s: %s\n", arguments[2], std::strerror(error));
    return 127;
  }
  int status = 0;
  rusage usage{};
  // The usage of a child that has ended includes what it waited for itself.
  while (::wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began;
  std::FILE* report = std::fopen(arguments[1], "w");
  if (report == nullptr) {
    std::fprintf(stderr, "caiexport-measured-run: cannot write %s: %s\n", arguments[1], std::strerror(errno));
    return 127;
  }
  std::fprintf(report, "%.6f %.6f %.6f %ld\n", elapsed.count(), secondsOf(usage.ru_utime), secondsOf(usage.ru_stime),
               usage.ru_maxrss);
  std::fclose(report);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
