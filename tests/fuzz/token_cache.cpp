/// A file of the token cache, whatever became of it.

#include "caiexport/platform/auth.h"

#include <span>

#include "caiexport/core/file_system.h"
#include "caiexport/core/log.h"
#include "fuzz/target.h"
#include "support/temp_directory.h"

using namespace caiexport;

CAIEXPORT_FUZZ_TARGET(token_cache) {
  static const support::TempDirectory folder;
  static const platform::TokenCache cache(folder.path(), {"the-client"}, core::nullLog());
  const std::filesystem::path file = folder / platform::digestOf({"the-client"});
  std::filesystem::remove(file);
  core::diskFileSystem().open(file, 0600)->writeAt(0, std::as_bytes(std::span(input)));

  const std::optional<platform::CachedToken> loaded = cache.load();
  if (!loaded) return;
  fuzz::require(!loaded->token.empty(), "an empty token");
  fuzz::require(loaded->token.reveal().find_first_of("\r\n") == std::string_view::npos, "a token of several lines");
  cache.store(*loaded);
  const std::optional<platform::CachedToken> again = cache.load();
  fuzz::require(again && again->token.reveal() == loaded->token.reveal() && again->expiresAt == loaded->expiresAt,
                "what was stored comes back as something else");
  cache.forget(loaded->token);
  fuzz::require(!cache.load(), "a token that was forgotten is there");
}
