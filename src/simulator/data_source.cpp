#include "simulator/data_source.h"

namespace caiexport::simulator {

std::uint64_t recordsInFile(std::uint64_t records, std::uint64_t files, std::uint64_t index) {
  return records / files + (index < records % files ? 1 : 0);
}

std::vector<DataFile> PatternSource::make(const DataRequest& request) {
  std::vector<DataFile> made;
  made.reserve(request.files);
  for (std::uint64_t index = 0; index < request.files; ++index) {
    made.push_back({.content = patternContent((request.seed << 32U) + index, fileBytes_),
                    .records = recordsInFile(request.records, request.files, index)});
  }
  return made;
}

}  // namespace caiexport::simulator
