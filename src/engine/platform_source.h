#pragma once
/// The platform's files as what the downloader fetches.

#include "caiexport/platform/client.h"
#include "caiexport/transfer/downloader.h"

namespace caiexport::engine {

class PlatformSource final : public transfer::ByteSource {
 public:
  explicit PlatformSource(platform::Client& client) : client_(client) {}

  void fetch(const model::RemoteFile& file, model::ByteRange range, transfer::RangeSink& sink,
             std::stop_token stop) override {
    Adapter adapter(sink);
    client_.fetchFile(file, range, adapter, std::move(stop));
  }

 private:
  class Adapter final : public platform::FileSink {
   public:
    explicit Adapter(transfer::RangeSink& sink) : sink_(sink) {}
    model::FileVersion wanted() const override { return sink_.wanted(); }
    void isOf(const model::FileVersion& version) override { sink_.isOf(version); }
    void begin(std::uint64_t offset, std::optional<std::uint64_t> fileBytes) override {
      sink_.begin(offset, fileBytes);
    }
    std::size_t room(std::size_t bytes) override { return sink_.room(bytes); }
    void write(std::span<const std::byte> data) override { sink_.write(data); }

   private:
    transfer::RangeSink& sink_;
  };

  platform::Client& client_;
};

}  // namespace caiexport::engine
