#include "caiexport/reader/parquet_reader.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "caiexport/core/encoding.h"
#include "caiexport/core/error.h"
#include "caiexport/core/memory.h"
#include "caiexport/core/text.h"
#include "module_abi.h"
#include "parquet_frame.h"

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

/// Bytes of the valid, harmless UTF-8 sequence that `text` begins with; 0 if it is none.
std::size_t harmlessSequence(std::string_view text) {
  char32_t codePoint = 0;
  const std::size_t length = core::decodeUtf8(text, codePoint);
  const bool isLayout = codePoint == '\n' || codePoint == '\r' || codePoint == '\t';
  return isLayout || core::mayBeShown(codePoint) ? length : 0;
}

/// Loads the module for the first file that it is needed for: what is no table by its frame needs none.
class LateReader final : public ParquetReader {
 public:
  explicit LateReader(const ReaderSettings& settings) : settings_(settings) {}

  FileFacts inspect(const fs::path& path, Depth depth, std::stop_token stop) override {
    if (!loaded_) readFrame(readableFile(path));
    return loaded().inspect(path, depth, std::move(stop));
  }
  std::unique_ptr<Profiles> open(std::vector<InputFile> files) override { return loaded().open(std::move(files)); }
  std::unique_ptr<ScorePair> openPair(std::vector<InputFile> now, std::vector<InputFile> before) override {
    return loaded().openPair(std::move(now), std::move(before));
  }

 private:
  ParquetReader& loaded() {
    if (loaded_) return *loaded_;
    static const auto open = functionOf<OpenFunction>(kOpenSymbol);
    if (settings_.memoryBytes == 0) settings_.memoryBytes = defaultMemoryBytes();
    if (settings_.threads == 0) settings_.threads = core::usableProcessors();
    loaded_.reset(open(settings_));
    return *loaded_;
  }

  ReaderSettings settings_;
  std::unique_ptr<ParquetReader> loaded_;
};

}  // namespace

std::string engineVersion() {
  return functionOf<EngineFunction>(kEngineSymbol)();
}

void writeWorkbook(const fs::path& path, const std::vector<Sheet>& sheets) {
  functionOf<WorkbookFunction>(kWorkbookSymbol)(path, sheets);
}

std::uint64_t defaultMemoryBytes() {
  return core::usableMemoryBytes() / 2;
}

std::unique_ptr<ParquetReader> openReader(const ReaderSettings& settings) {
  return std::make_unique<LateReader>(settings);
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
      shown += "\\x";
      core::appendHex(shown, text.substr(at, 1), core::HexDigits::upper);
      ++at;
    }
  }
  return next_.write(std::as_bytes(std::span(shown)));
}

}  // namespace caiexport::reader
