#pragma once
/// Reading typed values out of scenario JSON; core::Error(usage) names the key.

#include <cstdint>
#include <string>
#include <vector>

#include "simulator/json.h"

namespace caiexport::simulator {

[[noreturn]] void refuseKey(const std::string& key, const std::string& why);
std::uint64_t readCount(const std::string& key, const Json& value);
std::int64_t readInteger(const std::string& key, const Json& value);
bool readFlag(const std::string& key, const Json& value);
std::string readText(const std::string& key, const Json& value);
std::vector<std::string> readTexts(const std::string& key, const Json& value);

}  // namespace caiexport::simulator
