/// Union schemas and sandboxes.

#include "fuzz/answering_platform.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(surroundings) {
  fuzz::AnsweringPlatform platform(input);
  platform.attempt([](platform::Client& client) { client.unionSchemaIds({}); });
  platform.attempt([](platform::Client& client) { client.sandboxes({}); });
}
