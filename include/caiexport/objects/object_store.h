#pragma once
/// Where verified batches are delivered to: a store of objects, or a folder, which another program knows how to reach.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "caiexport/core/clock.h"

namespace caiexport::objects {

/// `rclone:REMOTE:PATH`, the only kind that there is.
class Target {
 public:
  /// Error(usage) for another scheme, no remote, no path, or a remote that holds what looks like a secret: a target is
  /// recorded and shown.
  static Target parse(std::string_view text);

  const std::string& text() const { return text_; }  ///< As it was given, without slashes at its end.
  const std::string& root() const { return root_; }  ///< As rclone takes it.

 private:
  std::string text_;
  std::string root_;
};

struct Object {
  std::string name;  ///< Below the folder that was listed.
  std::uint64_t bytes = 0;
};

/// What was found out about a store.
struct Facts {
  std::string program;                               ///< That reaches it, with its version.
  std::optional<std::filesystem::path> folder = {};  ///< Where it is no more than a folder of this machine.
  bool hashes = false;                               ///< Whether it tells hashes of what lies there.
};

/// One target. A failure that may pass is Error(unavailable); Error(config) for a remote or bucket that is not there,
/// Error(permission) for credentials that are refused, Error(io) for what this machine refuses. For one thread.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  /// Tells what it is; nothing is sent.
  virtual Facts facts(const std::stop_token& stop) = 0;

  /// Told of each file that has been sent, on the caller's thread.
  using Sent = std::function<void(const std::string& name)>;
  /// Files of the folder, named relative to it, to FOLDER/NAME below the root. What lies there already with the same
  /// content is not sent again.
  virtual void putFiles(const std::filesystem::path& from, std::span<const std::string> names,
                        const std::string& folder, const Sent& sent, const std::stop_token& stop) = 0;
  /// A small object, perhaps an empty one.
  virtual void putText(const std::string& key, std::string_view text, const std::stop_token& stop) = 0;

  struct Comparison {
    std::set<std::string> same = {};  ///< That lie there with the same content as here.
    bool byHash = true;               ///< Of some, the store told no hash: their sizes alone were compared.
  };
  virtual Comparison compare(const std::filesystem::path& here, std::span<const std::string> names,
                             const std::string& folder, const std::stop_token& stop) = 0;
  /// All below the folder; none where there is no such folder.
  virtual std::vector<Object> list(const std::string& folder, const std::stop_token& stop) = 0;
  /// Nothing if there is none, or an empty one.
  virtual std::optional<std::string> text(const std::string& key, const std::stop_token& stop) = 0;
  /// No error for those that are not there.
  virtual void remove(const std::string& folder, std::span<const std::string> names, const std::stop_token& stop) = 0;
};

struct RcloneSettings {
  core::Duration connectTimeout = std::chrono::seconds(10);
  core::Duration readTimeout = std::chrono::seconds(60);
  std::uint64_t mostBytesPerSecond = 0;  ///< 0: no limit.
};

/// By running rclone, which must be in PATH: Error(config) if it is not.
std::unique_ptr<ObjectStore> openRclone(const Target& target, const RcloneSettings& settings);

/// What a failure of rclone means, by the texts of its log. `what`: what was being done.
[[noreturn]] void throwRcloneFailure(const std::string& what, int exitCode, const std::string& told);

/// Writes, reads and deletes an object of its own: with that, batches can be delivered and taken back.
void probe(ObjectStore& store, const std::stop_token& stop);

}  // namespace caiexport::objects
