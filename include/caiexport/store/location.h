#pragma once
/// Where a job database is: a file of this machine, or a database of a PostgreSQL server that several hosts share.

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "caiexport/core/clock.h"

namespace caiexport::store {

class Location {
 public:
  /// A file. Not explicit: wherever a database is wanted, the name of a file will do.
  Location(std::filesystem::path file);  // NOLINT(google-explicit-constructor)
  /// Whether it is an address and not the name of a file: SCHEME://...
  static bool isAddress(std::string_view text);
  /// Of a server. Error(config) for another scheme than postgresql:// (or postgres://), for one that libpq can't read,
  /// for a password in it, for a way to a distant host that is not encrypted. Nothing is sent yet.
  static Location ofServer(std::string_view address);

  bool isServer() const { return !address_.empty(); }
  /// Empty for a server.
  const std::filesystem::path& file() const { return file_; }
  /// As libpq takes it; empty for a file.
  const std::string& address() const { return address_; }
  /// For people: the file, or the address without what is none of a reader's business.
  const std::string& name() const { return name_; }

  /// How long what a process holds stays its own after it was last heard of (only a server needs to be told).
  core::Duration lease = std::chrono::seconds(30);

 private:
  Location() = default;

  std::filesystem::path file_;
  std::string address_;
  std::string name_;
};

}  // namespace caiexport::store
