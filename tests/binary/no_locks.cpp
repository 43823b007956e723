/// For LD_PRELOAD: a file system without locks, as fcntl(2) shows it (ENOLCK: NFS without a lock service).

#include <dlfcn.h>

#include <cerrno>
#include <cstdarg>

namespace {

// <fcntl.h> would declare what is defined here, under names that depend on the size of off_t.
bool isAboutLocks(int command) {
  return (command >= 5 && command <= 7) || (command >= 36 && command <= 38);  // F_GETLK to F_SETLKW, F_OFD_GETLK to ...
}

int passOn(int descriptor, int command, void* argument) {
  using Function = int (*)(int, int, ...);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "fcntl64"));
  return real(descriptor, command, argument);
}

int answer(int descriptor, int command, void* argument) {
  if (!isAboutLocks(command)) return passOn(descriptor, command, argument);
  errno = ENOLCK;
  return -1;
}

}  // namespace

extern "C" int fcntl(int descriptor, int command, ...) {
  std::va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  return answer(descriptor, command, argument);
}

extern "C" int fcntl64(int descriptor, int command, ...) {
  std::va_list arguments;
  va_start(arguments, command);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  return answer(descriptor, command, argument);
}
