#pragma once
/// Chance decided by the test.

#include <cstddef>
#include <initializer_list>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "caiexport/core/clock.h"

namespace caiexport::support {

/// Gives the listed values in turn, over and over. Thread safe.
class FixedRandom final : public core::Random {
 public:
  explicit FixedRandom(double value = 0.5) : FixedRandom({value}) {}
  FixedRandom(std::initializer_list<double> values) : values_(values) {
    if (values_.empty()) throw std::invalid_argument("FixedRandom needs a value");
  }

  double uniform() override {
    const std::lock_guard lock(mutex_);
    return values_[used_++ % values_.size()];
  }

  /// How many values were asked for.
  std::size_t used() const {
    const std::lock_guard lock(mutex_);
    return used_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<double> values_;
  std::size_t used_ = 0;
};

}  // namespace caiexport::support
