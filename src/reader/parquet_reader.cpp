#include "caiexport/reader/parquet_reader.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "caiexport/core/error.h"
#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "machine.h"
#include "module_abi.h"

namespace caiexport::reader {
namespace {

namespace fs = std::filesystem;

fs::path programPath() {
  std::error_code failure;
  fs::path program = fs::read_symlink("/proc/self/exe", failure);
  if (!failure) return program;
  // Where there is no /proc, the loader knows the file that this function came from: the program.
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&programPath), &info) != 0 && info.dli_fname != nullptr) {
    return fs::absolute(info.dli_fname, failure);
  }
  return {};
}

/// `bin/caiexport` finds `lib/caiexport/caiexport-reader.so`, installed as well as in the build tree.
fs::path modulePath() {
  return programPath().parent_path().parent_path() / "lib" / "caiexport" / kModuleFile;
}

[[noreturn]] void throwUnusable(const fs::path& path, const std::string& reason) {
  throw core::Error(core::Category::io, "cannot load the Parquet reader " + path.string() + ": " + reason,
                    {.hint = "install caiexport again, with all files of its package: bin/caiexport needs "
                             "lib/caiexport/ beside bin/"});
}

/// DuckDB ends the whole process where its threads get no memory, so it is not begun where there is little.
void requireAddressSpace() {
  constexpr std::uint64_t kNeeded = 192U << 20U;
  const std::optional<std::uint64_t> left = core::addressSpaceLeft();
  if (!left || *left >= kNeeded) return;
  throw core::Error(core::Category::io,
                    "out of memory: reading Parquet takes " + core::formatBytes(kNeeded) +
                        " of address space, and the limit on it leaves " + core::formatBytes(*left),
                    {.hint = "raise the limit on the address space (ulimit -v)"});
}

void* loadModule() {
  const fs::path path = modulePath();
  // RTLD_LOCAL keeps DuckDB's symbols from the rest of the program. Never closed: DuckDB's threads may outlive a
  // reader.
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) throwUnusable(path, dlerror());
  const auto abi = reinterpret_cast<AbiFunction>(dlsym(module, kAbiSymbol));
  if (abi == nullptr || std::string_view(abi()) != kModuleAbi) throwUnusable(path, "it is from another version");
  return module;
}

void* module() {
  static void* const loaded = loadModule();
  return loaded;
}

template <class Function>
Function functionOf(const char* symbol) {
  requireAddressSpace();
  const auto function = reinterpret_cast<Function>(dlsym(module(), symbol));
  if (function == nullptr) throwUnusable(modulePath(), "it lacks one of its functions");
  return function;
}

bool isControl(unsigned char byte) {
  return (byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t') || byte == 0x7F;
}

/// Bytes of the valid, harmless UTF-8 sequence that `text` begins with; 0 if it is none.
std::size_t harmlessSequence(std::string_view text) {
  const auto byte = [&text](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return isControl(lead) ? 0 : 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (std::size_t index = 1; index < length; ++index) {
    if ((byte(index) & 0xC0U) != 0x80) return 0;
  }
  if (lead == 0xC2 && byte(1) < 0xA0) return 0;  // C1 controls
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
  if (lead == 0xED && byte(1) > 0x9F) return 0;  // surrogates
  if (lead == 0xF0 && byte(1) < 0x90) return 0;  // overlong
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;  // beyond Unicode
  // Marks that turn the direction of writing or are not seen, and separators of lines: one text would look like
  // another.
  if (lead == 0xD8 && byte(1) == 0x9C) return 0;
  if (lead == 0xE2 && byte(1) == 0x80 &&
      ((byte(2) >= 0x8B && byte(2) <= 0x8F) || (byte(2) >= 0xA8 && byte(2) <= 0xAE))) {
    return 0;
  }
  if (lead == 0xE2 && byte(1) == 0x81 && byte(2) >= 0xA0 && byte(2) <= 0xAF) return 0;
  if (lead == 0xEF && byte(1) == 0xBB && byte(2) == 0xBF) return 0;
  return length;
}

void appendHex(std::string& text, unsigned char byte) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  text += "\\x";
  text += kDigits[byte >> 4U];
  text += kDigits[byte & 0xFU];
}

}  // namespace

std::string engineVersion() {
  return functionOf<EngineFunction>(kEngineSymbol)();
}

void writeWorkbook(const fs::path& path, const std::vector<Sheet>& sheets) {
  functionOf<WorkbookFunction>(kWorkbookSymbol)(path, sheets);
}

std::uint64_t defaultMemoryBytes() {
  return usableMemoryBytes() / 2;
}

std::unique_ptr<ParquetReader> openReader(const ReaderSettings& settings) {
  static const auto open = functionOf<OpenFunction>(kOpenSymbol);
  ReaderSettings complete = settings;
  if (complete.memoryBytes == 0) complete.memoryBytes = defaultMemoryBytes();
  if (complete.threads == 0) complete.threads = usableProcessors();
  return std::unique_ptr<ParquetReader>(open(complete));
}

bool PrintableOutput::write(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::string shown;
  shown.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = harmlessSequence(text.substr(at));
    if (length > 0) {
      shown.append(text, at, length);
      at += length;
    } else {
      appendHex(shown, static_cast<unsigned char>(text[at]));
      ++at;
    }
  }
  return next_.write(std::as_bytes(std::span(shown)));
}

}  // namespace caiexport::reader
