#pragma once
/// libpq, the client library of PostgreSQL. It brings twenty other libraries along, so it is opened when somebody names
/// a server, and neither needed nor loaded where the record is a file.

#include <libpq-fe.h>

#include <string>

namespace caiexport::store {

/// What is used of libpq, under its own names.
class Libpq {
 public:
  /// As the system's loader knows it; the number is that of the interface that <libpq-fe.h> declares.
#ifdef __APPLE__
  static constexpr const char* kFile = "libpq.5.dylib";
#else
  static constexpr const char* kFile = "libpq.so.5";
#endif

  /// Error(config) if it is not there, or lacks a function. Never closed.
  explicit Libpq(const std::string& file);

 private:
  /// Whatever function is asked of it.
  struct Symbol {
    void* address;
    template <class Function>
    operator Function*() const {  // NOLINT(google-explicit-constructor)
      return reinterpret_cast<Function*>(address);
    }
  };
  Symbol find(const char* name) const;

  std::string file_;
  void* library_;

 public:
#define FUNCTION(name) decltype(&::name) name = find(#name)  // NOLINT(bugprone-macro-parentheses): a name
  FUNCTION(PQclear);
  FUNCTION(PQcmdStatus);
  FUNCTION(PQcmdTuples);
  FUNCTION(PQconnectPoll);
  FUNCTION(PQconnectStartParams);
  FUNCTION(PQconnectionNeedsPassword);
  FUNCTION(PQconninfo);
  FUNCTION(PQconninfoFree);
  FUNCTION(PQconninfoParse);
  FUNCTION(PQconsumeInput);
  FUNCTION(PQerrorMessage);
  FUNCTION(PQfinish);
  FUNCTION(PQfname);
  FUNCTION(PQfreemem);
  FUNCTION(PQftype);
  FUNCTION(PQgetResult);
  FUNCTION(PQgetisnull);
  FUNCTION(PQgetlength);
  FUNCTION(PQgetvalue);
  FUNCTION(PQisBusy);
  FUNCTION(PQnfields);
  FUNCTION(PQnparams);
  FUNCTION(PQntuples);
  FUNCTION(PQparameterStatus);
  FUNCTION(PQpass);
  FUNCTION(PQresultErrorField);
  FUNCTION(PQresultErrorMessage);
  FUNCTION(PQresultStatus);
  FUNCTION(PQsendDescribePrepared);
  FUNCTION(PQsendPrepare);
  FUNCTION(PQsendQuery);
  FUNCTION(PQsendQueryParams);
  FUNCTION(PQsendQueryPrepared);
  FUNCTION(PQserverVersion);
  FUNCTION(PQsetErrorVerbosity);
  FUNCTION(PQsetNoticeProcessor);
  FUNCTION(PQsetSingleRowMode);
  FUNCTION(PQsocket);
  FUNCTION(PQsslInUse);
  FUNCTION(PQstatus);
#undef FUNCTION
};

/// The one of this process, opened by the first call. For any thread.
const Libpq& libpq();

}  // namespace caiexport::store
