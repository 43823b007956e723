#pragma once
/// Failure as one type. Values report outcomes (a status, an empty optional); exceptions report failure.

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace caiexport::core {

/// What kind of failure it was; decides the exit code and the `category` in JSON output.
enum class Category {
  usage,
  config,
  auth,
  permission,
  notFound,
  tooOld,
  remoteFailed,
  timedOut,
  unavailable,
  protocol,
  verification,
  io,
  busy,
  blocked,
  interrupted,
  internal,
};

/// The name used in JSON output and in the database, e.g. "notFound".
std::string_view nameOf(Category category);
/// The reverse; an unknown name is `internal`.
Category categoryFrom(std::string_view name);
/// The exit code documented for the category.
int exitCodeOf(Category category);

/// A failure that a person can act on. The message says what was being done, to what, and what came back; the hint says
/// what to do next. Neither may ever hold a secret.
class Error : public std::runtime_error {
 public:
  struct Details {
    std::string requestId = {};  ///< Adobe's request id, where the answer had one.
    std::string hint = {};       ///< What to do next.
    std::string code = {};       ///< Adobe's code of the problem, where the answer had one.
  };

  Error(Category category, const std::string& message) : Error(category, message, Details{}) {}
  Error(Category category, const std::string& message, Details details);

  Category category() const { return category_; }
  const std::string& requestId() const { return details_.requestId; }
  const std::string& hint() const { return details_.hint; }
  const std::string& code() const { return details_.code; }

 private:
  Category category_;
  Details details_;
};

/// A failure that may pass: the same request may succeed when repeated. Category `unavailable`.
class TransientError : public Error {
 public:
  struct Cause {
    std::optional<std::chrono::milliseconds> retryAfter = {};  ///< What the server asked for.
    bool throttled = false;                                    ///< 429 or 503: fewer connections would help.
    bool mayHaveArrived = true;  ///< False only if no byte of the request can have been seen.
    bool tooSlow = false;        ///< 504, or no answer in time: asking for less may help.
  };

  TransientError(const std::string& message, Cause cause, Details details);
  TransientError(const std::string& message, Cause cause) : TransientError(message, cause, Details{}) {}

  const Cause& cause() const { return cause_; }

 private:
  Cause cause_;
};

/// Stopped on request (a signal, a cancelled job). Category `interrupted`.
class Interrupted : public Error {
 public:
  Interrupted() : Error(Category::interrupted, "interrupted") {}
};

// --- What a category means: one table, in error.cpp.

/// What a failure does to the step of a job that met it.
enum class StepEnd {
  noted,   ///< The step stays begun: the same again, later, may succeed.
  failed,  ///< The step has failed, and with it the job; `resume` may try it again.
  blocked  ///< The job waits for a person's decision.
};

struct CategoryFacts {
  Category category;
  std::string_view name;  ///< In JSON output and in the database, e.g. "notFound".
  int exitCode;
  StepEnd step;
  bool concernsAllFiles;    ///< Every other file would meet it as well.
  bool concernsOneBatch;    ///< It says something about one batch only: others may still come.
  bool mayStayUnanswered;   ///< To a question that is asked for information alone, it is no failure.
  std::string_view remedy;  ///< For people, where neither the answer nor the failure says what helps.
  std::string_view wayOn;   ///< For people: how a job that ended so goes on; JOB stands for its number.
};

const CategoryFacts& factsOf(Category category);

}  // namespace caiexport::core
