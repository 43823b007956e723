#include <array>

#include "commands.h"

namespace caiexport::cli {
namespace {

constexpr std::array<Option, 9> kPlatform{{
    {"org", "ORG", "the organisation's id, e.g. ABC@AdobeOrg [CAIEXPORT_ORG_ID, org_id]"},
    {"sandbox", "NAME", "the sandbox [CAIEXPORT_SANDBOX, sandbox; prod]"},
    {"base-url", "URL", "the platform [CAIEXPORT_BASE_URL, base_url; https://platform.adobe.io]"},
    {"ims-url", "URL", "where tokens come from [CAIEXPORT_IMS_URL, ims_url; https://ims-na1.adobelogin.com]"},
    {"ca-file", "FILE", "trust these certificates instead of the system's [CAIEXPORT_CA_FILE, ca_file]"},
    {"connect-timeout", "DURATION", "of one connection [CAIEXPORT_CONNECT_TIMEOUT, connect_timeout; 10s]"},
    {"read-timeout", "DURATION", "longest silence of an answer [CAIEXPORT_READ_TIMEOUT, read_timeout; 60s]"},
    {"retries", "N", "further tries of a request that failed, 0 for none [5]"},
    {"retry-wait", "DURATION", "the first wait before another try; doubles [CAIEXPORT_RETRY_WAIT, retry_wait; 1s]"},
}};

constexpr std::array<Option, 11> kGlobal{{
    {"config", "FILE", "settings [CAIEXPORT_CONFIG; $XDG_CONFIG_HOME/caiexport/config.ini]"},
    {"profile", "NAME", "section of the config file [CAIEXPORT_PROFILE; default]"},
    {"database", "FILE", "the record of jobs [CAIEXPORT_DATABASE, database; $XDG_STATE_HOME/caiexport/jobs.db]"},
    {"quiet", "", "print nothing but errors, and what was asked for (a list, a table, JSON)"},
    {"verbose", "", "tell every request on standard error"},
    {"no-color", "", "no colours [NO_COLOR]"},
    {"log-file", "FILE", "append every event to FILE as JSON lines"},
    {"log-level", "debug|info|warning|error", "events below it are left out of the log file [debug]"},
    {"log-size", "SIZE", "a log file that would grow beyond it becomes FILE.1 [100M]"},
    {"help", "", "this help"},
    {"version", "", "the program's version"},
}};

constexpr std::array<Option, 2> kRun{{
    {"if-running", "fail|skip", "what becomes of this run if another one is at work on the same (exit 10 or 0) [fail]"},
    {"on-end", "COMMAND", "runs at the end, which it reads as JSON from standard input [CAIEXPORT_ON_END, on_end]"},
}};

constexpr std::array<Option, 4> kTransfer{{
    {"output", "DIR", "where batches go: DIR/<dataset id>/<batch id>/ [CAIEXPORT_OUTPUT, output; the current folder]"},
    {"connections", "N", "exactly N connections, 1 to 64 [CAIEXPORT_CONNECTIONS, connections; adapts]"},
    {"connections-max", "N", "at most N connections, 1 to 64 [CAIEXPORT_CONNECTIONS_MAX, connections_max; 64]"},
    {"max-rate", "RATE", "bytes per second of all connections together, e.g. 50M"},
}};

}  // namespace

OptionGroup platformGroup() {
  return {"Platform", kPlatform};
}

OptionGroup globalGroup() {
  return {"Global options", kGlobal};
}

OptionGroup runGroup() {
  return {"Run", kRun};
}

OptionGroup transferGroup() {
  return {"Transfer", kTransfer};
}

}  // namespace caiexport::cli
