/// For LD_PRELOAD: a file system that ignores case, below the folder that FOLDED_ROOT names. Names are kept in small
/// letters there, whatever a program calls them.

#include <dlfcn.h>

#include <cctype>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

std::string folded(const char* path) {
  std::string text = path;
  const char* root = std::getenv("FOLDED_ROOT");
  if (root == nullptr || !text.starts_with(root)) return text;
  for (std::size_t at = std::strlen(root); at < text.size(); ++at) {
    text[at] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[at])));
  }
  return text;
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

int openAs(const char* function, const char* path, int flags, unsigned mode) {
  return real<int (*)(const char*, int, unsigned)>(function)(folded(path).c_str(), flags, mode);
}

}  // namespace

// The headers of these would declare them under names that depend on the size of off_t.
extern "C" {

int open(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = va_arg(arguments, unsigned);
  va_end(arguments);
  return openAs("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = va_arg(arguments, unsigned);
  va_end(arguments);
  return openAs("open64", path, flags, mode);
}

int openat(int folder, const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = va_arg(arguments, unsigned);
  va_end(arguments);
  return real<int (*)(int, const char*, int, unsigned)>("openat")(folder, folded(path).c_str(), flags, mode);
}

int openat64(int folder, const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = va_arg(arguments, unsigned);
  va_end(arguments);
  return real<int (*)(int, const char*, int, unsigned)>("openat64")(folder, folded(path).c_str(), flags, mode);
}

std::FILE* fopen(const char* path, const char* mode) {
  return real<std::FILE* (*)(const char*, const char*)>("fopen")(folded(path).c_str(), mode);
}

std::FILE* fopen64(const char* path, const char* mode) {
  return real<std::FILE* (*)(const char*, const char*)>("fopen64")(folded(path).c_str(), mode);
}

void* opendir(const char* path) {
  return real<void* (*)(const char*)>("opendir")(folded(path).c_str());
}

int stat(const char* path, void* into) {
  return real<int (*)(const char*, void*)>("stat")(folded(path).c_str(), into);
}

int stat64(const char* path, void* into) {
  return real<int (*)(const char*, void*)>("stat64")(folded(path).c_str(), into);
}

int lstat(const char* path, void* into) {
  return real<int (*)(const char*, void*)>("lstat")(folded(path).c_str(), into);
}

int lstat64(const char* path, void* into) {
  return real<int (*)(const char*, void*)>("lstat64")(folded(path).c_str(), into);
}

int unlink(const char* path) {
  return real<int (*)(const char*)>("unlink")(folded(path).c_str());
}

int rmdir(const char* path) {
  return real<int (*)(const char*)>("rmdir")(folded(path).c_str());
}

int mkdir(const char* path, unsigned mode) {
  return real<int (*)(const char*, unsigned)>("mkdir")(folded(path).c_str(), mode);
}

int rename(const char* from, const char* to) {
  return real<int (*)(const char*, const char*)>("rename")(folded(from).c_str(), folded(to).c_str());
}

int renameat2(int fromFolder, const char* from, int toFolder, const char* to, unsigned flags) {
  return real<int (*)(int, const char*, int, const char*, unsigned)>("renameat2")(fromFolder, folded(from).c_str(),
                                                                                  toFolder, folded(to).c_str(), flags);
}

int symlink(const char* target, const char* path) {
  return real<int (*)(const char*, const char*)>("symlink")(target, folded(path).c_str());
}

}  // extern "C"
