#pragma once
/// The platform's files as what the downloader fetches.

#include "caiexport/platform/client.h"
#include "caiexport/transfer/downloader.h"

namespace caiexport::engine {

class PlatformSource final : public transfer::ByteSource {
 public:
  explicit PlatformSource(platform::Client& client) : client_(client) {}

  void fetch(const model::RemoteFile& file, model::ByteRange range, model::ByteSink& sink,
             std::stop_token stop) override {
    client_.fetchFile(file, range, sink, std::move(stop));
  }

 private:
  platform::Client& client_;
};

}  // namespace caiexport::engine
