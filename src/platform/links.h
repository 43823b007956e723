#pragma once
/// What the platform's answers may lead to: links of the same origin, plain file names, ranges of bytes.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "caiexport/model/ids.h"
#include "caiexport/model/job.h"
#include "caiexport/net/http.h"

namespace caiexport::platform {

class Json;

/// The absolute URL of a link found in an answer, resolved against `base`. Bytes that can't stand in a request line
/// (blanks, non-ASCII) are percent-encoded, everything else stays as it is. Error(protocol) if it leads to another
/// origin than `allowed` (the message names both), or nowhere.
std::string sameOriginLink(const net::Origin& allowed, std::string_view base, const Json& href);

/// The value of a parameter in a link of the Segmentation service, decoded; nothing if it is not there or empty. Its
/// links (`@/segmentJobs?start=1`) need not lead anywhere: only what they say of the next page is of use.
/// Error(protocol) for a link to another origin.
std::optional<std::string> linkParameter(const net::Origin& allowed, const Json& href, std::string_view name);

/// The text, if it is a plain file name that is safe inside a batch's folder; else Error(protocol) showing it. Refused
/// are: separators, control characters and marks that change the direction of writing, invalid UTF-8, `.`, `..`, more
/// than 250 bytes (with `.part` that is the 255 that file systems grant), names ending in `.part` (unfinished files)
/// and `manifest.json` (caiexport's own). Names that only Windows reserves are fine.
std::string checkedFileName(const Json& name);
/// The same, where its text was asked for already.
std::string checkedFileName(const Json& name, std::string text);

/// Path and query of a file at Data Access when only its ids are known.
std::string fileTarget(const model::DatasetFileId& file, std::string_view name);

/// Whether `url` asks for the same as fileTarget() at that origin, but for the way it is percent-encoded.
bool isDerivable(std::string_view url, const net::Origin& origin, const model::DatasetFileId& file,
                 std::string_view name);

/// The Content-Range header. Source: RFC 9110, section 14.4.
struct ContentRange {
  std::optional<model::ByteRange> range = {};    ///< Nothing for the `*` of a 416.
  std::optional<std::uint64_t> totalBytes = {};  ///< Nothing for `*`: unknown.
};

/// Nothing for what is not a byte range, or one that contradicts itself.
std::optional<ContentRange> parseContentRange(std::string_view text);

}  // namespace caiexport::platform
