#pragma once
/// Messages about requests begin with the method and the address; people want to read what happened first.

#include <string>
#include <string_view>

namespace caiexport::cli {

/// The message without `GET https://host/path: `, wherever it stands.
std::string withoutAddress(std::string_view message);

/// `host:port` of the first address; empty if there is none.
std::string hostIn(std::string_view message);

}  // namespace caiexport::cli
