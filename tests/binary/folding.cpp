/// For LD_PRELOAD: a memory stick, below the folder that FOLDED_ROOT names. Names are kept as it likes, whatever a
/// program calls them: in small letters, the accent of an e as a letter of its own, without dots and blanks at their
/// end. Some characters it does not take at all, and it knows no links.

#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

// As in <fcntl.h>, which would declare open() otherwise.
constexpr int kCreate = 0100;

bool isBelow(const char* path) {
  const char* root = std::getenv("FOLDED_ROOT");
  return root != nullptr && std::strncmp(path, root, std::strlen(root)) == 0;
}

/// A name within a path.
std::string foldedName(std::string name) {
  if (name == "." || name == "..") return name;
  while (!name.empty() && (name.back() == '.' || name.back() == ' ')) name.pop_back();
  for (char& letter : name) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  for (const char* accented : {"\xC3\xA9", "\xC3\x89"}) {
    for (std::size_t at = name.find(accented); at != std::string::npos; at = name.find(accented)) {
      name.replace(at, 2, "e\xCC\x81");
    }
  }
  return name;
}

std::string folded(const char* path) {
  if (!isBelow(path)) return path;
  const std::size_t root = std::strlen(std::getenv("FOLDED_ROOT"));
  std::string text(path, root);
  const std::string rest = path + root;
  for (std::size_t from = 0; from < rest.size();) {
    const std::size_t end = std::min(rest.find('/', from), rest.size());
    text += foldedName(rest.substr(from, end - from));
    if (end < rest.size()) text += '/';
    from = end + 1;
  }
  return text;
}

/// Whether the name can't be made; errno says so.
bool isRefused(const char* path) {
  if (!isBelow(path) || std::strpbrk(path, ":?*|<>\"") == nullptr) return false;
  errno = EINVAL;
  return true;
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

int openAs(const char* function, const char* path, int flags, unsigned mode) {
  if ((flags & kCreate) != 0 && isRefused(path)) return -1;
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
  // Like most file systems that are no native ones.
  if (isBelow(to) && flags != 0) {
    errno = EINVAL;
    return -1;
  }
  return real<int (*)(int, const char*, int, const char*, unsigned)>("renameat2")(fromFolder, folded(from).c_str(),
                                                                                  toFolder, folded(to).c_str(), flags);
}

int symlink(const char* target, const char* path) {
  if (!isBelow(path)) return real<int (*)(const char*, const char*)>("symlink")(target, path);
  errno = EPERM;
  return -1;
}

int link(const char* from, const char* to) {
  if (!isBelow(to)) return real<int (*)(const char*, const char*)>("link")(from, to);
  errno = EPERM;
  return -1;
}

char* realpath(const char* path, char* into) {
  return real<char* (*)(const char*, char*)>("realpath")(folded(path).c_str(), into);
}

}  // extern "C"
