#pragma once
/// The SQL that makes profile records.

#include <cstdint>
#include <string>

namespace caiexport::simulator {

/// To be run once on a connection, before profileQuery.
extern const char* const profileMacros;

/// A query that gives the records `first` to `last` (exclusive): an XDM Individual Profile with the Customer AI field
/// group. Everybody's score depends on `seed`; with a segment id all are members of that segment and at high risk.
std::string profileQuery(std::uint64_t first, std::uint64_t last, std::uint64_t seed, const std::string& segmentId);

}  // namespace caiexport::simulator
