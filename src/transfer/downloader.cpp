#include "caiexport/transfer/downloader.h"

#include "run.h"

namespace caiexport::transfer {

Downloader::Downloader(ByteSource& source, core::FileSystem& files, core::Clock& clock, core::Random& random,
                       core::Log& log, DownloadSettings settings)
    : source_(source), files_(files), clock_(clock), random_(random), log_(log), settings_(settings) {}

DownloadSummary Downloader::run(const NextItem& next, Observer& observer, DownloadProgress& progress,
                                std::stop_token stop) {
  Run run({source_, files_, clock_, random_, log_, settings_}, observer, progress);
  return run.toTheEnd(next, stop);
}

}  // namespace caiexport::transfer
