#pragma once
/// Everything that a command needs to run jobs: the way to the platform, the record, and what `dataset`, `segment`,
/// `sync` and `resume` share (options of a transfer, what a result must be like to count, one job run and printed).

#include <memory>
#include <optional>
#include <string>

#include "caiexport/cli/application.h"
#include "caiexport/engine/delivery.h"
#include "caiexport/engine/runner.h"
#include "caiexport/model/export_request.h"
#include "caiexport/net/poco_transport.h"
#include "caiexport/platform/auth.h"
#include "caiexport/platform/client.h"
#include "caiexport/store/job_store.h"
#include "caiexport/store/share_store.h"
#include "caiexport/store/sync_store.h"
#include "cli/config/config.h"
#include "cli/output/progress.h"
#include "record.h"

namespace caiexport::cli {

/// The way to the platform. For any number of threads.
class PlatformAccess {
 public:
  PlatformAccess(const PlatformSettings& settings, const std::optional<std::filesystem::path>& tokenCache,
                 core::Log& log, const transfer::DownloadSettings& download = {});
  platform::Client& client() { return client_; }
  platform::TokenSource& tokens() { return *tokens_; }

 private:
  net::PocoTransport transport_;
  std::unique_ptr<platform::TokenSource> tokens_;
  platform::Client client_;
};

/// What delivers to a target, by the settings.
std::unique_ptr<objects::ObjectStore> openTarget(const std::string& target, const PlatformSettings& settings,
                                                 const transfer::DownloadSettings& download);

/// For one thread.
class Session {
 public:
  /// Reads the settings, then opens (and, if need be, makes) the database. Nothing is sent yet.
  Session(Configuration& configuration, Context& context);

  const PlatformSettings& settings() const { return settings_; }
  platform::Client& client() { return access_.client(); }
  store::JobStore& store() { return store_; }
  store::History& history() { return record_.history(); }
  store::SyncStore& syncStore() { return syncStore_; }
  store::RunStore& runStore() { return runStore_; }
  store::DeliveryStore& deliveryStore() { return deliveryStore_; }
  const engine::DeliveryTools& delivery() const { return delivery_; }
  engine::Runner& runner() { return runner_; }
  engine::Tools tools();
  bool isHeld(model::JobId job) const { return record_.isHeld(job); }

  /// Error(config) if the job belongs to another organisation, sandbox or platform than the settings.
  void requireSame(const model::Job& job) const;

  /// Before anything is fetched: Error if what the request delivers could not be delivered.
  void requireTarget(const model::ExportRequest& request);

  /// Runs the job on, obeying signals and `cancel`.
  engine::Outcome run(model::JobId job, const engine::RunOptions& options);
  /// Takes a job off the record that has come to nothing, unless it is news: about a source that earlier jobs knew.
  /// False if it stays.
  bool forget(const model::Job& job);
  /// How long the last run took, without what earlier ones did and the time between.
  core::Duration ran() const { return ran_; }
  /// What the last run fetched; once.
  std::optional<Arrived> takeArrived() { return progress_.takeArrived(); }

 private:
  void addFacts(const model::Job& job);

  Context& context_;
  core::Duration ran_{};
  PlatformSettings settings_;
  transfer::DownloadSettings download_;
  PlatformAccess access_;  // before the record: if it fails, no database has been made
  Record record_;
  store::JobStore store_;
  store::SyncStore syncStore_;
  store::RunStore runStore_;
  std::optional<store::ShareStore> shareStore_;  ///< With a database on a server.
  store::DeliveryStore deliveryStore_;
  Progress progress_;
  engine::DeliveryTools delivery_;
  engine::Runner runner_;
};

/// Makes a job (or joins the one of this worker's key) and runs it, prints its document or its result. Of an id that
/// the platform does not know no job is left, so that a slip of the finger takes no number: then it throws what is
/// wrong.
CommandEnd makeAndRun(Session& session, const model::ExportRequest& request, engine::RunOptions options,
                      TextOrJson format, Context& context, const std::optional<std::string>& share = {});
/// Runs a job that is recorded already, prints its document or its result, says how to go on after a failure.
CommandEnd runAndPrint(Session& session, model::JobId job, const engine::RunOptions& options, TextOrJson format,
                       Context& context);

/// Prints a result as text on standard output, unless --quiet is given.
void printResultText(const std::string& text, Context& context);

/// The job as it is now, as a document of its own.
void printJobDocument(Session& session, model::JobId job, const CommandEnd& error, Context& context);

/// --verify.
model::VerifyLevel verifyOption(const ParsedOptions& options);

inline constexpr Option kVerifyOption{
    "verify", "size|footer|full",
    R"(how files are checked: their size, also their Parquet footer, or every value in them [footer])"};
inline constexpr Option kForceOption{"force", "", "overwrite files even if no job on record made them"};
inline constexpr Option kFormatOption{"format", "text|json", "how the result is printed on standard output [text]"};
inline constexpr Option kCreatedClientOption{
    "created-client", "NAME",
    "only batches that this client made; any for those of every client [acp_foundation_push]"};

/// Groups of options on the pages of `dataset`, `segment` and `sync`: their own, then `how`, and those that all three
/// have.
std::vector<OptionGroup> jobGroups(std::vector<OptionGroup> own, std::span<const Option> how);
model::Guards guardOptions(const ParsedOptions& options);

}  // namespace caiexport::cli
