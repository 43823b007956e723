#pragma once
/// Bodies that a server or a proxy on the way compressed though nobody asked it to.

#include "caiexport/net/http.h"

namespace caiexport::net {

/// The body as it was before `Content-Encoding: gzip` (or `deflate`), and without that field; nothing changes where
/// there is none. AttemptFailure for another coding and for one that is broken or cut (of an answer that is no success,
/// the body is left empty instead), and for a body of more than `mostBytes`: a small answer can unpack to any size.
void decodeBody(HttpResponse& response, std::uint64_t mostBytes);

}  // namespace caiexport::net
