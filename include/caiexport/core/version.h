#pragma once
/// Which caiexport this is.

#include <string_view>

namespace caiexport::core {

/// "1.2.3", as the build names it; "development" where it names none.
std::string_view programVersion();

}  // namespace caiexport::core
