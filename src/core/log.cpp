#include "caiexport/core/log.h"

namespace caiexport::core {
namespace {

class NullLog final : public Log {
 public:
  bool wants(LogLevel) const override { return false; }
  void write(LogLevel, std::string_view, std::initializer_list<Field>) override {}
};

}  // namespace

Log& nullLog() {
  static NullLog log;
  return log;
}

}  // namespace caiexport::core
