#pragma once
/// JSON arrays on standard output that are readable as lines, too.

#include "caiexport/cli/terminal.h"

namespace caiexport::cli {

/// Each element of an array on a line of its own.
class LineArray {
 public:
  explicit LineArray(StandardOutput& out) : out_(out) { out_.write("["); }
  /// To be called before each element; false once the reader of the output is gone.
  bool next() {
    const bool open = out_.write(any_ ? ",\n" : "");
    any_ = true;
    return open;
  }
  void end() { out_.write("]\n"); }

 private:
  StandardOutput& out_;
  bool any_ = false;
};

}  // namespace caiexport::cli
