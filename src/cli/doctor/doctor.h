#pragma once
/// The checks of `doctor`, and what they found. Nothing is changed on the platform: they only read.

#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/cli/application.h"
#include "caiexport/core/error.h"
#include "cli/config/config.h"

namespace caiexport::cli {

struct ShownSetting {
  std::string name = {};
  std::string value = {};  ///< `set` for a secret; empty if it is nowhere.
  std::string from = {};   ///< Empty if it is nowhere.
  bool inProfile = false;
};

/// Every setting and where it comes from; secrets are not shown.
std::vector<ShownSetting> shownSettings(Configuration& configuration, const Environment& environment);

enum class CheckState { ok, failed, skipped };
std::string_view nameOf(CheckState state);

struct Check {
  std::string name;
  CheckState state = CheckState::ok;
  std::string detail;
  std::string remedy;  ///< Of a failed one.
};

/// Thrown by a check that can't be made.
struct CannotCheck {
  std::string why;
};

/// Runs checks one after the other. For one thread.
class Checks {
 public:
  using Report = std::function<void(const Check&)>;
  /// `report` gets each check as soon as it is done.
  explicit Checks(Report report) : report_(std::move(report)) {}

  /// Returns what was found, or throws core::Error: its message is the detail, its hint the remedy. Not called if one
  /// of `needs` (names of earlier checks) did not end well.
  using Look = std::function<std::string()>;
  void check(std::string_view name, std::initializer_list<std::string_view> needs, const Look& look);

  std::size_t made() const { return notOk_.size(); }
  std::size_t failed() const { return failed_; }
  /// What the first failed one threw, as the end of the command; nothing if none failed.
  CommandEnd end() const;

 private:
  void finish(const Check& check, const std::string& cause);

  Report report_;
  /// By name: empty, or the failed check that is to blame.
  std::map<std::string, std::string, std::less<>> notOk_;
  std::size_t failed_ = 0;
  std::optional<core::Category> firstCategory_;
  std::string firstName_;
};

struct DoctorQuestions {
  std::string dataset;  ///< Empty: not asked.
  std::string segment;
};

/// The checks in their order.
void runChecks(Checks& checks, Configuration& configuration, const ParsedOptions& options,
               const DoctorQuestions& questions, Context& context);

/// Settings and checks as text, for `doctor` and at the end of `configure`.
CommandEnd examineAsText(Configuration& configuration, const ParsedOptions& options, const DoctorQuestions& questions,
                         Context& context);

}  // namespace caiexport::cli
