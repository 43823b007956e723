// A library to be loaded before all others: whoever takes or gives back a mutex may be held up there. Threads then meet
// in orders that an idle machine shows once in ten thousand runs.
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdint>
#include <ctime>

namespace {

constexpr unsigned kLongEvery = 50;
constexpr unsigned kShortEvery = 5;
constexpr unsigned kLongestMicroseconds = 3000;
constexpr unsigned kShortMicroseconds = 30;

/// No generator of the library: this runs before and while everything else is set up.
std::uint32_t next() {
  static thread_local std::uint64_t state = 0;
  if (state == 0) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    state = (static_cast<std::uint64_t>(now.tv_nsec) ^ reinterpret_cast<std::uintptr_t>(&state)) | 1U;
  }
  state = state * 6364136223846793005U + 1442695040888963407U;
  return static_cast<std::uint32_t>(state >> 40U);
}

/// By chance, and not until anything happens: only the order of the threads is to change, so there is no clock to ask.
void holdUp() {
  const std::uint32_t chance = next();
  if (chance % kLongEvery == 0) {
    ::usleep((chance >> 8U) % kLongestMicroseconds);
  } else if (chance % kShortEvery == 0) {
    ::usleep((chance >> 8U) % kShortMicroseconds);
  }
}

using Call = int (*)(pthread_mutex_t*);

}  // namespace

extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  static const auto real = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  holdUp();
  return real(mutex);
}

extern "C" int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
  static const auto real = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "pthread_mutex_unlock"));
  const int result = real(mutex);
  holdUp();
  return result;
}
