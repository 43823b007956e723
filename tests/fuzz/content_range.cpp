/// Content-Range.

#include "fuzz/target.h"
#include "platform/links.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(content_range) {
  const auto parsed = platform::parseContentRange(input);
  if (!parsed || !parsed->range) return;
  fuzz::require(parsed->range->first < parsed->range->end, "an empty or turned range");
  fuzz::require(!parsed->totalBytes || parsed->range->end <= *parsed->totalBytes, "a range after the file's end");
}
