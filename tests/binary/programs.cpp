#include "binary/programs.h"

namespace caiexport::binary {

const char* const kCaiexport = CAIEXPORT;
const char* const kSimulator = CAIEXPORT_SIMULATOR;
const char* const kNoLocks = CAIEXPORT_NO_LOCKS;
const char* const kFolding = CAIEXPORT_FOLDING;

}  // namespace caiexport::binary
