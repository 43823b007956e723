#pragma once
/// What an error category means: one table, in error.cpp.

#include <string_view>

#include "caiexport/core/error.h"

namespace caiexport::core {

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
