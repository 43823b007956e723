#pragma once
/// Diagnostic events. Results never go here; secrets never do.

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace caiexport::core {

enum class LogLevel { debug, info, warning, error };

/// Text or a number, as JSON tells them apart.
class LogValue {
 public:
  LogValue(std::string text) : text_(std::move(text)) {}
  LogValue(std::string_view text) : text_(text) {}
  LogValue(const char* text) : text_(text) {}
  template <std::integral Number>
  LogValue(Number number) : text_(std::to_string(number)), isNumber_(true) {}

  const std::string& text() const { return text_; }
  bool isNumber() const { return isNumber_; }

 private:
  std::string text_;
  bool isNumber_ = false;
};

/// Receives events; thread safe. `event` is a word of the vocabulary in docs/events.md, e.g. "request" or "retry".
class Log {
 public:
  using Field = std::pair<std::string_view, LogValue>;

  virtual ~Log() = default;
  /// False lets a caller skip making the fields.
  virtual bool wants(LogLevel level) const = 0;
  virtual void write(LogLevel level, std::string_view event, std::initializer_list<Field> fields) = 0;
  /// The job that events from now on are about; nothing: none.
  virtual void setJob(std::optional<std::int64_t> /*job*/) {}
};

/// Drops everything.
inline Log& nullLog() {
  class NullLog final : public Log {
    bool wants(LogLevel) const override { return false; }
    void write(LogLevel, std::string_view, std::initializer_list<Field>) override {}
  };
  static NullLog log;
  return log;
}

}  // namespace caiexport::core
