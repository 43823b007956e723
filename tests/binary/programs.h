#pragma once
/// Where the build put the programs and the preloaded libraries of these tests. In a source of its own, so that the
/// paths of one checkout don't make every test of another one compile anew.

namespace caiexport::binary {

extern const char* const kCaiexport;
extern const char* const kSimulator;
/// A library that takes file locks away (no_locks.cpp).
extern const char* const kNoLocks;
/// A library that makes a folder ignore the case of names (folding.cpp).
extern const char* const kFolding;
/// A program that takes HTTP/2 and passes it on as HTTP/1.1 (support/http2_front.cpp).
extern const char* const kHttp2Front;

}  // namespace caiexport::binary
