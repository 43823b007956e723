#include "caiexport/core/version.h"

#ifndef CAIEXPORT_VERSION
#define CAIEXPORT_VERSION "development"
#endif

namespace caiexport::core {

std::string_view programVersion() {
  return CAIEXPORT_VERSION;
}

}  // namespace caiexport::core
