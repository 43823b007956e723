#include "reading.h"

#include <unistd.h>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "config.h"
#include "option_values.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;

fs::path folderOf(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

InputSet findInput(const ParsedOptions& options, Context& context) {
  Configuration configuration(options, context.environment);
  InputFinder finder(configuration, options.has("all-batches") ? Batches::all : Batches::newest);
  InputSet input = finder.find(options.arguments());
  for (const std::string& notice : input.notices) context.console.notice("caiexport: " + notice);
  return input;
}

}  // namespace

ScratchFolder::ScratchFolder(const std::optional<fs::path>& output) {
  const std::string name = "caiexport-" + std::to_string(::getpid()) + ".tmp";
  if (output) {
    path_ = folderOf(*output) / ("." + name);
    return;
  }
  std::error_code error;
  const fs::path folder = fs::temp_directory_path(error);
  // Without such a folder the reader puts nothing on disk.
  if (!error) path_ = folder / name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

Reading::Reading(const ParsedOptions& options, Context& context)
    : memoryBytes_(bytesOption(options, "memory").value_or(0)),
      input_(findInput(options, context)),
      scratch_(outputFile(options)),
      reader_(reader::openReader({.memoryBytes = memoryBytes_, .tempDirectory = scratch_.path()})),
      profiles_(reader_->open(input_.files)) {}

std::optional<fs::path> outputFile(const ParsedOptions& options) {
  const auto text = options.value("output");
  if (!text) return std::nullopt;
  const fs::path file(*text);
  std::error_code ignored;
  if (!file.has_filename() || fs::is_directory(file, ignored)) {
    throw core::Error(core::Category::usage,
                      "--output: '" + core::printable(*text, 200) + "' is a folder, not the name of a file");
  }
  return file;
}

void makeFile(const fs::path& target, const std::function<void(const fs::path&)>& fill) {
  core::FileSystem& files = core::diskFileSystem();
  fs::path part = target;
  part += "." + std::to_string(::getpid()) + ".part";
  try {
    fill(part);
    files.open(part)->sync();
    files.rename(part, target);
  } catch (...) {
    std::error_code ignored;
    fs::remove(part, ignored);
    throw;
  }
  files.syncDirectory(folderOf(target));
}

void deliver(const std::optional<fs::path>& output, const std::string& text, Context& context) {
  if (!output) {
    context.out.write(text);
    return;
  }
  makeFile(*output, [&](const fs::path& part) {
    FileOutput out(part);
    out.write(std::as_bytes(std::span(text)));
  });
}

struct FileOutput::State {
  std::unique_ptr<core::WritableFile> file;
  std::uint64_t written = 0;
};

FileOutput::FileOutput(const fs::path& path)
    : state_(std::make_unique<State>(State{core::diskFileSystem().open(path), 0})) {
  state_->file->resize(0);
}

FileOutput::~FileOutput() = default;

bool FileOutput::write(std::span<const std::byte> bytes) {
  state_->file->writeAt(state_->written, bytes);
  state_->written += bytes.size();
  return true;
}

bool StreamOutput::write(std::span<const std::byte> bytes) {
  return out_.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace caiexport::cli
