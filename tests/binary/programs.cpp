#include "binary/programs.h"

namespace caiexport::binary {

const char* const kCaiexport = CAIEXPORT;
const char* const kSimulator = CAIEXPORT_SIMULATOR;
const char* const kNoLocks = CAIEXPORT_NO_LOCKS;
const char* const kFolding = CAIEXPORT_FOLDING;
const char* const kHttp2Front = CAIEXPORT_HTTP2_FRONT;

}  // namespace caiexport::binary
