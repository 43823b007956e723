#pragma once
/// Why one attempt to send a request failed, before it is known to the caller.

#include <stdexcept>
#include <string>
#include <utility>

namespace caiexport::net {

/// The text follows "METHOD URL: ". The transport makes the core error of it, since only the transport knows the
/// request and whether any of it can have arrived.
class AttemptFailure : public std::runtime_error {
 public:
  enum class Kind {
    transient,  ///< May pass.
    closed,     ///< May pass: the peer closed or reset the connection. All that a stale connection ever shows.
    timedOut,   ///< May pass: no answer came in the time that was given.
    protocol,   ///< The answer breaks HTTP.
    config,     ///< Something has to be set up differently.
    exhausted,  ///< This process may open no more files: may pass when others are closed.
  };

  AttemptFailure(Kind kind, const std::string& text, std::string hint = {})
      : std::runtime_error(text), kind_(kind), hint_(std::move(hint)) {}

  Kind kind() const { return kind_; }
  const std::string& hint() const { return hint_; }

 private:
  Kind kind_;
  std::string hint_;
};

}  // namespace caiexport::net
