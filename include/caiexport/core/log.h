#pragma once
/// Diagnostic events. Results never go here; secrets never do.

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace caiexport::core {

enum class LogLevel { debug, info, warning, error };

/// Receives events; thread safe. `event` is a word of the vocabulary in docs/events.md, e.g. "request" or "retry".
class Log {
 public:
  using Field = std::pair<std::string_view, std::string>;

  virtual ~Log() = default;
  /// False lets a caller skip making the fields.
  virtual bool wants(LogLevel level) const = 0;
  virtual void write(LogLevel level, std::string_view event, std::initializer_list<Field> fields) = 0;
};

/// Drops everything.
Log& nullLog();

}  // namespace caiexport::core
