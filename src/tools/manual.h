#pragma once
/// Pages for man(1).

#include <string>
#include <string_view>

namespace caiexport::tools {

/// `date` as YYYY-MM-DD.
std::string caiexportManual(std::string_view date);
std::string simulatorManual(std::string_view date);

}  // namespace caiexport::tools
