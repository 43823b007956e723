#include "doctor.h"

#include <Poco/Environment.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <utility>

#include "caiexport/cli/terminal.h"
#include "caiexport/core/clock.h"
#include "caiexport/core/error.h"
#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "caiexport/core/version.h"
#include "caiexport/engine/batch_choice.h"
#include "caiexport/net/poco_transport.h"
#include "caiexport/platform/client.h"
#include "caiexport/reader/parquet_reader.h"
#include "caiexport/store/database.h"
#include "cli/session.h"

namespace caiexport::cli {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;

std::string describe(const Error& error) {
  std::string text = error.what();
  if (!error.requestId().empty() && text.find(error.requestId()) == std::string::npos) {
    text += " (request id " + error.requestId() + ")";
  }
  return text;
}

std::string dayOf(core::TimePoint time) {
  return core::formatTime(time).substr(0, 10);
}

// --- the platform

/// The checks that talk to it, and what they leave for each other.
class PlatformChecks {
 public:
  PlatformChecks(Checks& checks, Configuration& configuration, const ParsedOptions& options, Context& context)
      : checks_(checks), configuration_(configuration), options_(options), context_(context) {}

  void run(const DoctorQuestions& questions) {
    checks_.check("config_file", {}, [&] { return configFile(); });
    checks_.check("settings", {"config_file"}, [&] { return settings(); });
    checks_.check("proxy", {"settings"}, [&] { return proxy(); });
    checks_.check("credentials", {"settings", "proxy"}, [&] { return credentials(); });
    checks_.check("clock", {"credentials"}, [&] { return clock(); });
    checks_.check("organization", {"credentials"}, [&] { return organization(); });
    checks_.check("sandbox", {"organization"}, [&] { return sandbox(); });
    if (!questions.dataset.empty()) {
      checks_.check("dataset", {"sandbox"}, [&] { return dataset(questions.dataset); });
      checks_.check("newest_batch", {"dataset"}, [&] { return newestBatch(questions.dataset); });
      checks_.check("files", {"newest_batch"}, [&] { return files(); });
    }
    if (!questions.segment.empty()) {
      checks_.check("segment", {"sandbox"}, [&] { return segment(questions.segment); });
      checks_.check("merge_policy", {"segment"}, [&] { return mergePolicy(); });
      checks_.check("union_schema", {"sandbox"}, [&] { return unionSchema(); });
    }
    checks_.check("export_jobs", {"sandbox"}, [&] { return exportJobs(); });
  }

  std::uint64_t neededBytes() const { return bytes_; }

 private:
  std::string configFile() {
    const ConfigFile& config = configuration_.configFile();
    if (config.error) throw *config.error;
    if (config.file.empty()) return "none, because neither XDG_CONFIG_HOME nor HOME is set";
    const std::string name = core::printable(config.file.string());
    if (!config.there) return "none at " + name + "; caiexport configure makes one";
    struct stat facts {};
    if (::stat(config.file.c_str(), &facts) != 0) core::throwIoError("look at", config.file, errno);
    std::array<char, 8> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(facts.st_mode & 07777U));
    const std::string profile = "[" + core::printable(config.profile, 60) + "]";
    return name + ", mode " + mode.data() + (config.hasProfile ? ", profile " : ", has no profile ") + profile;
  }

  std::string settings() {
    settings_ = configuration_.platform();
    static_cast<void>(configuration_.download());
    // Waiting through all the tries would hide for a minute what is wrong.
    if (!options_.has("retries")) settings_.retry.furtherTries = 1;
    // No token cache: an old token would tell nothing about the secret.
    access_.emplace(settings_, std::nullopt, context_.log);
    return "complete, for " + settings_.baseUrl;
  }

  std::string proxy() const {
    const net::ProxySettings proxies = net::proxyFromEnvironment();
    const auto used = net::proxyFor(proxies, settings_.baseUrl);
    if (used) return core::printable(*used) + " (HTTPS_PROXY) for " + settings_.baseUrl;
    if (!proxies.httpsProxy.empty()) return "HTTPS_PROXY is set, but not used for " + settings_.baseUrl;
    if (proxies.ignored.empty()) return "none";
    // It would make no difference to what is reached without any.
    const bool matters =
        net::proxyFor({.httpsProxy = "any:1", .noProxy = proxies.noProxy}, settings_.baseUrl).has_value();
    return matters ? "none: " + proxies.ignored + " is set, but ignored; the proxy for https is HTTPS_PROXY's" : "none";
  }

  std::string credentials() {
    static_cast<void>(access_->tokens().token(context_.stop));
    if (!settings_.accessToken.empty()) return "a ready-made access token is set; it will not be renewed";
    const std::string scopes = core::joined(core::splitList(settings_.scopes), ", ",
                                            [](const std::string& scope) { return core::printable(scope, 100); });
    return "access token obtained from " + settings_.imsUrl + " for the scopes " + scopes;
  }

  std::string clock() {
    askForSandboxes();
    const std::optional<core::Duration> skew = client().clockSkew();
    if (!skew) throw CannotCheck{"no answer from the platform carried the time"};
    // The header's time is cut to seconds, and the answer was on its way.
    constexpr core::Duration kUnnoticed = std::chrono::seconds(5);
    constexpr core::Duration kMost = std::chrono::minutes(5);
    const core::Duration amount = *skew < core::Duration::zero() ? -*skew : *skew;
    const std::string text =
        core::formatDuration(amount) + (*skew > core::Duration::zero() ? " ahead of" : " behind") + " the platform's";
    if (amount > kMost) {
      throw Error(Category::config, "this machine's clock is " + text,
                  {.hint = "set the clock (timedatectl set-ntp true): tokens and certificates depend on it"});
    }
    return amount <= kUnnoticed ? "agrees with the platform's" : text + "; harmless";
  }

  std::string organization() {
    std::string accepted = core::printable(settings_.orgId, 100) + " is accepted with this credential";
    if (sandboxes_) return accepted;
    try {
      std::rethrow_exception(refusal_);
    } catch (const Error& error) {
      const bool mayBeTheListAlone =
          error.category() == Category::permission || error.category() == Category::remoteFailed;
      if (mayBeTheListAlone && catalogAnswers()) return accepted;
      throw;
    }
  }

  std::string sandbox() {
    const std::string name = core::printable(settings_.sandbox, 60);
    if (!sandboxes_) return name + " is accepted by Catalog (this credential may not list sandboxes)";
    std::string others;
    for (const platform::Sandbox& sandbox : *sandboxes_) {
      if (sandbox.name == settings_.sandbox) {
        const bool usable = sandbox.state.empty() || sandbox.state == "active";
        if (usable) return name + " is visible";
        throw Error(Category::notFound, "sandbox " + name + " is " + core::printable(sandbox.state, 40),
                    {.hint = "wait until it is active, or choose another with --sandbox"});
      }
      others += (others.empty() ? "" : ", ") + core::printable(sandbox.name, 60);
    }
    throw Error(Category::notFound, "sandbox " + name + " is not visible to this credential",
                {.hint = others.empty() ? "this credential sees no sandbox: give its product profile access to one"
                                        : "set sandbox to one of: " + others});
  }

  std::string dataset(const std::string& id) {
    const auto dataset = client().findDataset(model::DatasetId(id), context_.stop);
    if (!dataset) {
      throw Error(Category::notFound, "dataset " + id + " does not exist in sandbox " + settings_.sandbox,
                  {.hint = "caiexport datasets --search TEXT finds ids by name; check --sandbox"});
    }
    std::string text = "'" + core::printable(dataset->name, 100) + "'";
    if (dataset->created != core::TimePoint()) text += " of " + dayOf(dataset->created);
    if (useOf(*dataset) == platform::DatasetUse::scores) text += ", scores of Customer AI";
    return text;
  }

  std::string newestBatch(const std::string& id) {
    model::ExportRequest request;
    request.kind = model::Kind::dataset;
    request.sourceId = id;
    request.sandbox = settings_.sandbox;
    batch_ = engine::chooseBatches(client(), request, context_.stop).front();
    const core::Duration age = std::max(client().serverNow() - batch_.created, core::Duration::zero());
    std::string text =
        batch_.id.value() + " of " + core::formatTime(batch_.created) + ", " + core::formatDuration(age) + " ago";
    if (batch_.records) text += ", " + counted(*batch_.records, "record", "records") + " promised";
    return text;
  }

  std::string files() {
    std::uint64_t files = 0;
    client().listFiles(
        batch_.id,
        [&](std::vector<model::RemoteFile>&& page) {
          files += page.size();
          for (const model::RemoteFile& file : page) bytes_ += file.lengthBytes;
        },
        context_.stop);
    if (files == 0) {
      throw Error(Category::notFound, "batch " + batch_.id.value() + " has no files",
                  {.hint = "look at the batch in the user interface, or choose another with --batch ID"});
    }
    return counted(files, "file", "files") + ", " + core::formatBytes(bytes_);
  }

  std::string segment(const std::string& id) {
    const auto segment = client().findSegment(model::SegmentId(id), context_.stop);
    if (!segment) {
      throw Error(Category::notFound, "segment " + id + " does not exist in sandbox " + settings_.sandbox,
                  {.hint = "caiexport segments --search TEXT finds ids by name; check --sandbox"});
    }
    segment_ = *segment;
    std::string text = "'" + core::printable(segment->name, 100) + "'";
    if (segment->updated) text += ", changed on " + dayOf(*segment->updated);
    return text;
  }

  std::string mergePolicy() const {
    if (!segment_.mergePolicyId.empty()) return core::printable(segment_.mergePolicyId, 100);
    throw Error(Category::notFound, "the segment names no merge policy", {.hint = "name one with --merge-policy ID"});
  }

  std::string unionSchema() {
    for (const std::string& id : client().unionSchemaIds(context_.stop)) {
      if (id == platform::kProfileUnionSchema) return id;
    }
    throw Error(Category::notFound, std::string("the sandbox has no ") + platform::kProfileUnionSchema,
                {.hint = "enable a schema of the class XDM Individual Profile for Real-Time Customer Profile"});
  }

  std::string exportJobs() {
    std::string newest;
    client().forEachExportJob(
        [&](const platform::ExportJob& job) {
          newest = "; the newest is " + core::printable(job.id.value(), 40) + ", " + core::printable(job.status, 40);
          return false;
        },
        context_.stop);
    return "may be listed" + newest;
  }

  void askForSandboxes() {
    try {
      sandboxes_ = client().sandboxes(context_.stop);
    } catch (const core::Interrupted&) {
      throw;
    } catch (const Error&) {
      refusal_ = std::current_exception();
    }
  }

  /// Catalog needs no right to list sandboxes.
  bool catalogAnswers() {
    try {
      client().forEachDataset([](const platform::Dataset&) { return false; }, context_.stop);
      return true;
    } catch (const core::Interrupted&) {
      throw;
    } catch (const Error&) {
      return false;
    }
  }

  platform::Client& client() { return access_->client(); }

  Checks& checks_;
  Configuration& configuration_;
  const ParsedOptions& options_;
  Context& context_;
  PlatformSettings settings_;
  std::optional<PlatformAccess> access_;
  std::optional<std::vector<platform::Sandbox>> sandboxes_;
  std::exception_ptr refusal_;  ///< Why there are no sandboxes_.
  model::Batch batch_;
  std::uint64_t bytes_ = 0;
  platform::SegmentDefinition segment_;
};

// --- this machine

/// The folder itself, or the nearest above it that exists.
fs::path existingFolder(fs::path folder) {
  std::error_code ignored;
  while (!fs::is_directory(folder, ignored) && folder != folder.parent_path()) folder = folder.parent_path();
  return folder;
}

/// The file system's kind where the kernel tells: statfs(2).
std::string kindOfFileSystem(const fs::path& folder) {
#ifdef __linux__
  struct statfs facts {};
  if (::statfs(folder.c_str(), &facts) != 0) return "unknown";
  static constexpr std::pair<unsigned long, const char*> kKinds[] = {
      {0xEF53, "ext4"},     {0x58465342, "xfs"},   {0x9123683E, "btrfs"},   {0x2FC12FC1, "zfs"},
      {0xF2F52010, "f2fs"}, {0x01021994, "tmpfs"}, {0x794C7630, "overlay"}, {0x65735546, "fuse"},
      {0x6969, "nfs"},      {0xFF534D42, "cifs"},  {0xFE534D42, "smb"},     {0x01021997, "9p"},
      {0x4D44, "fat"},      {0x2011BAB0, "exfat"}, {0x7366746E, "ntfs"},    {0xCA451A4E, "bcachefs"},
  };
  const auto type = static_cast<unsigned long>(facts.f_type) & 0xFFFFFFFFUL;
  for (const auto& [magic, name] : kKinds) {
    if (magic == type) return name;
  }
#else
  static_cast<void>(folder);
#endif
  return "unknown";
}

std::string output(Configuration& configuration, std::uint64_t neededBytes) {
  const fs::path folder = configuration.output();
  const fs::path existing = existingFolder(folder);
  const std::uint64_t free = core::diskFileSystem().freeBytes(existing);
  const std::string name = core::printable(folder.string());
  // Without a dataset to go by, less than any batch would be.
  constexpr std::uint64_t kLeast = 1U << 20U;
  if (free < std::max(neededBytes, kLeast)) {
    throw Error(Category::io,
                "only " + core::formatBytes(free) + " are free in " + name +
                    (neededBytes > 0 ? ", the newest batch has " + core::formatBytes(neededBytes) : ""),
                {.hint = "make room, or choose another folder with --output"});
  }
  return name + ", " + core::formatBytes(free) + " free, " + kindOfFileSystem(existing) +
         (existing == folder ? "" : " (the folder will be made)");
}

std::string server(const store::Location& location) {
  std::optional<store::Database> opened;
  try {
    opened.emplace(location, store::Database::Mode::readOnly);
  } catch (const Error& error) {
    if (error.category() != Category::notFound) throw;
    return location.name() + " answers; its tables will be made by the first job";
  }
  const store::DatabaseFacts facts = store::factsOf(*opened);
  std::array<char, 32> answered{};
  std::snprintf(answered.data(), answered.size(), "%.1f ms", static_cast<double>(facts.answeredIn.count()) / 1000.0);
  return location.name() + ", " + std::to_string(facts.jobs) + (facts.jobs == 1 ? " job" : " jobs") + ", schema " +
         std::to_string(facts.schemaVersion) + ", PostgreSQL " + facts.server + ", answers in " + answered.data() +
         (facts.encrypted ? ", encrypted" : ", not encrypted");
}

std::string database(Configuration& configuration) {
  const store::Location location = configuration.database();
  if (location.isServer()) return server(location);
  const fs::path& file = location.file();
  const std::string name = core::printable(file.string());
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    const fs::path folder = existingFolder(file.parent_path());
    if (::access(folder.c_str(), W_OK | X_OK) != 0) core::throwIoError("make the job database in", folder, errno);
    return name + " will be made by the first job";
  }
  if (::access(file.c_str(), W_OK) != 0) core::throwIoError("write the job database", file, errno);
  store::Database opened(file, store::Database::Mode::readOnly);
  const store::DatabaseFacts facts = store::factsOf(opened);
  if (!facts.trouble.empty()) {
    throw Error(Category::io, "the job database " + name + " is damaged: " + core::printable(facts.trouble, 200),
                {.hint = "keep a copy of the file, and name another with --database; downloaded files stay usable"});
  }
  return name + ", " + std::to_string(facts.jobs) + (facts.jobs == 1 ? " job" : " jobs") + ", schema " +
         std::to_string(facts.schemaVersion) + ", journal " + facts.journalMode + ", sound, on " +
         kindOfFileSystem(file.parent_path());
}

std::string pocoVersion() {
  const Poco::UInt32 version = Poco::Environment::libraryVersion();
  return std::to_string(version >> 24U) + "." + std::to_string((version >> 16U) & 0xFFU) + "." +
         std::to_string((version >> 8U) & 0xFFU);
}

std::string libraries() {
  return "caiexport " + std::string(core::programVersion()) + ", Poco " + pocoVersion() + ", " +
         OpenSSL_version(OPENSSL_VERSION) + ", SQLite " + store::sqliteVersion() + ", DuckDB " +
         core::printable(reader::engineVersion(), 40);
}

/// Writes, reads and deletes an object of its own.
std::string delivery(Configuration& configuration, const std::stop_token& stop) {
  const objects::Target target = *configuration.deliver();
  const auto store = objects::openRclone(target, {});
  const objects::Facts facts = store->facts(stop);
  objects::probe(*store, stop);
  return facts.program + " writes, reads and deletes at " + core::printable(target.text(), 200) +
         (facts.hashes ? ""
                       : "; the store tells no hashes, so files that are delivered are compared by their sizes alone");
}

/// Output folder (with room for `neededBytes`), database, libraries, and where batches are delivered to.
void runLocalChecks(Checks& checks, Configuration& configuration, std::uint64_t neededBytes,
                    const std::stop_token& stop) {
  checks.check("output", {"config_file"}, [&] { return output(configuration, neededBytes); });
  checks.check("database", {"config_file"}, [&] { return database(configuration); });
  checks.check("libraries", {}, [] { return libraries(); });
  if (configuration.find("deliver")) {
    checks.check("delivery", {"config_file"}, [&] { return delivery(configuration, stop); });
  }
}

}  // namespace

std::string_view nameOf(CheckState state) {
  constexpr std::array<std::string_view, 3> kNames{"ok", "failed", "skipped"};
  return kNames[static_cast<std::size_t>(state)];
}

void Checks::finish(const Check& check, const std::string& cause) {
  notOk_[check.name] = cause;
  report_(check);
}

void Checks::check(std::string_view name, std::initializer_list<std::string_view> needs, const Look& look) {
  Check check;
  check.name = name;
  for (const std::string_view need : needs) {
    const auto found = notOk_.find(need);
    if (found == notOk_.end() || found->second.empty()) continue;
    check.state = CheckState::skipped;
    check.detail = "needs " + found->second;
    finish(check, found->second);
    return;
  }
  try {
    check.detail = look();
    finish(check, {});
  } catch (const core::Interrupted&) {
    throw;
  } catch (const CannotCheck& reason) {
    check.state = CheckState::skipped;
    check.detail = reason.why;
    finish(check, check.name);
  } catch (const Error& error) {
    check.state = CheckState::failed;
    check.detail = describe(error);
    check.remedy = error.hint().empty() ? std::string(core::factsOf(error.category()).remedy) : error.hint();
    if (failed_++ == 0) {
      firstCategory_ = error.category();
      firstName_ = check.name;
    }
    finish(check, check.name);
  }
}

CommandEnd Checks::end() const {
  if (!firstCategory_) return {};
  return Error(*firstCategory_, std::to_string(failed_) + " of " + std::to_string(made()) + " checks failed" +
                                    (failed_ == 1 ? ": " : ", the first: ") + firstName_);
}

void runChecks(Checks& checks, Configuration& configuration, const ParsedOptions& options,
               const DoctorQuestions& questions, Context& context) {
  PlatformChecks platform(checks, configuration, options, context);
  platform.run(questions);
  runLocalChecks(checks, configuration, platform.neededBytes(), context.stop);
}

}  // namespace caiexport::cli
