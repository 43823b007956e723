#pragma once
/// The simulator's own resources under /_simulator: no authentication, for tests.

#include <string>

#include "simulator/state.h"

namespace caiexport::simulator {

/// Changes scenario keys; makes the score batches anew if the world's shape changed.
void changeScenario(State& state, const std::string& json);
JsonObject shownState(const State& state);

}  // namespace caiexport::simulator
