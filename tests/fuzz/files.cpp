/// Data Access: lists of files, directories of directories, and the bytes of a file.

#include <filesystem>

#include "fuzz/answering_platform.h"

using namespace caiexport;

namespace {

void checkFile(const model::RemoteFile& file) {
  const std::filesystem::path name(file.name);
  fuzz::require(name.is_relative() && name.filename() == name && name != "." && name != "..",
                "a name leaves the folder");
  fuzz::require(file.name.find('\0') == std::string::npos, "a name holds a NUL");
  fuzz::require(file.name.size() <= 250, "a name is too long for a file system");
  if (file.href.empty()) return;
  fuzz::require(net::parseUrl(file.href).origin == net::parseUrl(fuzz::kBaseUrl).origin, "a link leads elsewhere");
}

/// Takes what was promised and nothing else.
class BoundedSink final : public model::ByteSink {
 public:
  explicit BoundedSink(const model::RemoteFile& file) : file_(file) {}
  void begin(std::uint64_t offset, std::optional<std::uint64_t> fileBytes) override {
    fuzz::require(!begun_, "a file is begun twice");
    fuzz::require(offset <= file_.lengthBytes, "a range begins after the file's end");
    fuzz::require(!fileBytes || *fileBytes == file_.lengthBytes, "another length than listed passes");
    begun_ = true;
    at_ = offset;
  }
  void write(std::span<const std::byte> data) override {
    fuzz::require(begun_, "bytes before the file was begun");
    fuzz::require(data.size() <= file_.lengthBytes - at_, "bytes after the file's end");
    at_ += data.size();
  }

 private:
  const model::RemoteFile& file_;
  std::uint64_t at_ = 0;
  bool begun_ = false;
};

}  // namespace

CAIEXPORT_FUZZ_TARGET(files) {
  fuzz::AnsweringPlatform platform(input);
  platform.attempt([](platform::Client& client) {
    client.listFiles(model::BatchId("B1"),
                     [](std::vector<model::RemoteFile>&& page) {
                       for (const model::RemoteFile& file : page) checkFile(file);
                     },
                     {});
  });
  model::RemoteFile file;
  file.batchId = model::BatchId("B1");
  file.datasetFileId = model::DatasetFileId("B1-1");
  file.name = "part-0";
  file.lengthBytes = 10;
  for (const model::ByteRange range : {model::ByteRange{0, 10}, model::ByteRange{3, 7}}) {
    platform.attempt([&](platform::Client& client) {
      BoundedSink sink(file);
      client.fetchFile(file, range, sink, {});
    });
  }
}
