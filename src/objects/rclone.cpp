/// A store behind rclone: what is asked of it in its words, and what its log means in ours.

#include <algorithm>
#include <array>
#include <cstdlib>

#include "caiexport/core/error.h"
#include "caiexport/core/secret.h"
#include "caiexport/core/text.h"
#include "caiexport/json/document.h"
#include "caiexport/objects/object_store.h"
#include "child.h"

extern "C" char** environ;

namespace caiexport::objects {
namespace {

namespace fs = std::filesystem;
using core::Category;
using core::Error;
using json::Document;
using json::Kind;

constexpr std::string_view kScheme = "rclone:";
constexpr std::size_t kMostTold = 4000;
constexpr int kNoSuchFolder = 3;

// --- targets

bool mayBeSecret(std::string_view parameter) {
  const std::string name = core::toLower(parameter);
  if (name.ends_with("key_id") || name.ends_with("_file") || name.ends_with("file_path")) return false;
  constexpr std::array<std::string_view, 6> kParts{"secret", "pass", "token", "sas", "credential", "key"};
  return std::ranges::any_of(kParts, [&](std::string_view part) { return name.find(part) != name.npos; });
}

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  // Up to where its parameters begin: what is wrong may be that a secret is among them.
  const std::string shown(text.substr(0, text.find(',')));
  throw Error(
      Category::usage, "the target '" + core::printable(shown, 200) + "' " + why,
      {.hint = "write rclone:REMOTE:PATH, e.g. rclone:lake:bucket/scores; `rclone listremotes` names the remotes"});
}

/// Where the remote's name ends: at the first colon that is neither the leading one nor in quotes.
std::size_t endOfRemote(std::string_view text) {
  char quote = '\0';
  for (std::size_t at = text.starts_with(':') ? 1 : 0; at < text.size(); ++at) {
    const char letter = text[at];
    if (quote != '\0') {
      if (letter == quote) quote = '\0';
    } else if (letter == '\'' || letter == '"') {
      quote = letter;
    } else if (letter == ':') {
      return at;
    }
  }
  return text.npos;
}

void refuseSecrets(std::string_view text, std::string_view remote) {
  for (const std::string& parameter : core::splitList(remote)) {
    const std::size_t equals = parameter.find('=');
    if (equals == parameter.npos || !mayBeSecret(parameter.substr(0, equals))) continue;
    refuse(text, "has " + core::printable(parameter.substr(0, equals), 60) +
                     " in it: a target is recorded and shown, so secrets belong into rclone's own config or into "
                     "RCLONE_CONFIG_... variables");
  }
}

// --- what it says

/// A line of its log, or of what it prints before it has one.
struct Told {
  bool isError = false;
  std::string message;
  std::string object;
};

Told toldBy(std::string_view line) {
  const Document::Parsed parsed = Document::parse(std::string(line));
  if (!parsed.document || parsed.document->kind(0) != Kind::object) {
    const bool failed = line.find("Failed to ") != line.npos || line.find("ERROR") != line.npos ||
                        line.find("CRITICAL") != line.npos || line.starts_with("Error: ");
    return {.isError = failed, .message = std::string(line), .object = {}};
  }
  const Document& document = *parsed.document;
  const auto text = [&](std::string_view name) {
    const Document::Index found = document.member(0, name);
    return found != 0 && document.kind(found) == Kind::text ? std::string(document.text(found)) : std::string();
  };
  const std::string level = text("level");
  return {.isError = level == "error" || level == "critical" || level == "fatal",
          .message = text("msg"),
          .object = text("object")};
}

/// Values of variables that look like secrets, rclone's own and those of the clouds.
void addSecretsOf(char** environment, core::KnownSecrets& secrets) {
  for (char** entry = environment; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (equals != text.npos && mayBeSecret(text.substr(0, equals))) secrets.add(text.substr(equals + 1));
  }
}

/// Parameters of signed addresses, and whatever is assigned to a name that looks like a secret.
std::string withoutSigns(std::string text) {
  constexpr std::array<std::string_view, 10> kNames{"signature=",
                                                    "sig=",
                                                    "x-amz-credential=",
                                                    "x-amz-security-token=",
                                                    "secret_access_key=",
                                                    "password=",
                                                    "token=",
                                                    "authorization: ",
                                                    "secret=",
                                                    "pass="};
  std::string lower = core::toLower(text);
  for (const std::string_view name : kNames) {
    for (std::size_t at = lower.find(name); at != lower.npos; at = lower.find(name, at)) {
      at += name.size();
      const std::size_t end = std::min(text.find_first_of("&\"',; \n", at), text.size());
      text.replace(at, end - at, "***");
      lower.replace(at, end - at, "***");
    }
  }
  return text;
}

bool holds(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::any_of(words, [&](std::string_view word) { return text.find(word) != text.npos; });
}

Category categoryOf(std::string_view told) {
  const std::string lower = core::toLower(told);
  if (holds(lower, {"didn't find section in config", "didn't find backend", "unknown flag", "unknown command",
                    "config file", "nosuchbucket", "bucket does not exist", "bucketnotfound", "containernotfound",
                    "the specified container does not exist", "invalidbucketname", "no such bucket",
                    "invalid value when setting", "connection string", "failed to configure"})) {
    return Category::config;
  }
  if (holds(lower, {"signaturedoesnotmatch",  "invalidaccesskeyid",
                    "accessdenied",           "access denied",
                    "expiredtoken",           "invalidtoken",
                    "nocredentialproviders",  "authenticationfailed",
                    "authorizationfailure",   "invalid_grant",
                    "unauthorized",           "forbidden",
                    "status code: 403",       "status code: 401",
                    "unable to authenticate", "no authentication method",
                    "permission_denied",      "insufficientpermissions",
                    "requesttimetooskewed",   "couldn't fetch token",
                    "empty token found"})) {
    return Category::permission;
  }
  if (holds(lower,
            {"no space left", "permission denied", "read-only file system", "disk quota", "is not a directory",
             "not a directory", "input/output error", "file name too long", "mkdir ", "operation not permitted"})) {
    return Category::io;
  }
  return Category::unavailable;
}

std::string hintFor(Category category) {
  switch (category) {
    case Category::config:
      return "see `rclone listremotes` and `rclone lsd REMOTE:`; caiexport doctor --deliver TARGET tries a target";
    case Category::permission:
      return "check what the remote logs in with, and that it may write, read and delete there; caiexport doctor "
             "--deliver TARGET tries it";
    case Category::io:
      return "check the folder, its owner and the room on its disk";
    default:
      return "check the network and the store; what has been sent is kept";
  }
}

class Rclone final : public ObjectStore {
 public:
  Rclone(const Target& target, const RcloneSettings& settings) : target_(target), settings_(settings) {
    addSecretsOf(environ, secrets_);
  }

  Facts facts(const std::stop_token& stop) override {
    const std::string version = call("ask rclone for its version", {"version"}, "", stop).output;
    Facts facts{.program = version.substr(0, version.find('\n'))};
    const Ended ended = call("look at " + name(), {"backend", "features", target_.root()}, "", stop);
    const Document::Parsed parsed = Document::parse(ended.output);
    if (!parsed.document || parsed.document->kind(0) != Kind::object) return facts;
    const Document& document = *parsed.document;
    const auto hashes = document.member(0, "Hashes");
    facts.hashes = hashes != 0 && document.kind(hashes) == Kind::array && document.size(hashes) > 0;
    const auto features = document.member(0, "Features");
    const auto isLocal =
        features != 0 && document.kind(features) == Kind::object ? document.member(features, "IsLocal") : 0;
    const auto root = document.member(0, "Root");
    const bool local = isLocal != 0 && document.kind(isLocal) == Kind::boolean && document.boolean(isLocal);
    if (local && root != 0 && document.kind(root) == Kind::text) facts.folder = fs::path(document.text(root));
    return facts;
  }

  void putFiles(const fs::path& from, std::span<const std::string> names, const std::string& folder, const Sent& sent,
                const std::stop_token& stop) override {
    call("send files to " + name(), {"copy", from.string(), under(folder), "--files-from-raw", "-", "--no-traverse"},
         listOf(names), stop, [&](const Told& told) {
           if (!told.isError && told.message.starts_with("Copied")) sent(told.object);
         });
  }

  void putText(const std::string& key, std::string_view text, const std::stop_token& stop) override {
    call("write " + key + " in " + name(), {"rcat", under(key)}, std::string(text), stop);
  }

  Comparison compare(const fs::path& here, std::span<const std::string> names, const std::string& folder,
                     const std::stop_token& stop) override {
    Comparison found;
    // Differences are its exit code 1, too: what it says of each file tells them from failures.
    const Ended ended =
        runIt({"check", here.string(), under(folder), "--one-way", "--files-from-raw", "-", "--combined", "-"},
              listOf(names), stop, [&](const Told& told) {
                if (told.message.find("hashes could not be checked") != told.message.npos) found.byHash = false;
              });
    std::size_t told = 0;
    for (std::string_view rest = ended.output; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      if (line.size() < 3 || line[1] != ' ') continue;
      if (line[0] == '=') found.same.emplace(line.substr(2));
      if (line[0] == '=' || line[0] == '*' || line[0] == '+') ++told;
    }
    if (told < names.size() && ended.code != 0) throwFailure("compare files with " + name(), ended);
    return found;
  }

  std::vector<Object> list(const std::string& folder, const std::stop_token& stop) override {
    const Ended ended =
        runIt({"lsjson", under(folder), "--recursive", "--files-only", "--no-modtime", "--no-mimetype"}, "", stop);
    std::vector<Object> objects;
    if (ended.code == kNoSuchFolder) return objects;
    if (ended.code != 0) throwFailure("list " + name(), ended);
    const Document::Parsed parsed = Document::parse(ended.output, {.levels = 16, .values = 20'000'000});
    if (!parsed.document || parsed.document->kind(0) != Kind::array) {
      throw Error(Category::protocol, "rclone lsjson printed no list of what lies in " + name());
    }
    const Document& document = *parsed.document;
    for (const Document::Index entry : document.elements(0)) {
      if (document.kind(entry) != Kind::object) continue;
      const auto path = document.member(entry, "Path");
      const auto size = document.member(entry, "Size");
      if (path == 0 || document.kind(path) != Kind::text) continue;
      const bool known = size != 0 && document.kind(size) == Kind::integer && document.integer(size) >= 0;
      objects.push_back({.name = std::string(document.text(path)),
                         .bytes = known ? static_cast<std::uint64_t>(document.integer(size)) : 0});
    }
    return objects;
  }

  std::optional<std::string> text(const std::string& key, const std::stop_token& stop) override {
    Ended ended = runIt({"cat", under(key)}, "", stop);
    if (ended.code == kNoSuchFolder) return std::nullopt;
    if (ended.code != 0) throwFailure("read " + key + " in " + name(), ended);
    return ended.output.empty() ? std::nullopt : std::optional(std::move(ended.output));
  }

  void remove(const std::string& folder, std::span<const std::string> names, const std::stop_token& stop) override {
    if (names.empty()) return;
    const Ended ended = runIt({"delete", under(folder), "--files-from-raw", "-"}, listOf(names), stop);
    if (ended.code != 0 && ended.code != kNoSuchFolder) throwFailure("delete from " + name(), ended);
    // A store of objects has no folders; where there are, the empty ones go. What is left of them is no failure. Never
    // those of the root: rclone would delete an empty bucket as well.
    if (folder.empty()) return;
    runIt({"rmdirs", under(folder)}, "", stop);
  }

 private:
  struct Ended {
    int code = 0;
    std::string output;
    std::string told;  ///< Errors of its log.
  };
  using OnTold = std::function<void(const Told&)>;

  std::string name() const { return "'" + core::printable(target_.text(), 200) + "'"; }
  std::string under(const std::string& key) const {
    if (key.empty()) return target_.root();
    return target_.root().ends_with('/') || target_.root().ends_with(':') ? target_.root() + key
                                                                          : target_.root() + "/" + key;
  }
  static std::string listOf(std::span<const std::string> names) {
    std::string list;
    for (const std::string& each : names) {
      if (each.find_first_of("\r\n") != each.npos) {
        throw Error(Category::usage,
                    "the file '" + core::printable(each, 120) + "' has a line end in its name and can't be delivered");
      }
      list += each + "\n";
    }
    return list;
  }

  Ended call(const std::string& what, std::vector<std::string> words, std::string input, const std::stop_token& stop,
             const OnTold& onTold = {}) {
    Ended ended = runIt(std::move(words), std::move(input), stop, onTold);
    if (ended.code != 0) throwFailure(what, ended);
    return ended;
  }

  [[noreturn]] void throwFailure(const std::string& what, const Ended& ended) const {
    throwRcloneFailure(what, ended.code, ended.told);
  }

  Ended runIt(std::vector<std::string> words, std::string input, const std::stop_token& stop,
              const OnTold& onTold = {}) {
    Ended ended;
    Child child{.input = std::move(input), .environment = environment()};
    child.words = {"rclone"};
    for (std::string& word : words) child.words.push_back(std::move(word));
    // Tries are ours; those of single requests are few, so that a dead store is known soon.
    for (const char* word : {"--use-json-log", "--log-level", "INFO", "--stats", "0", "--s3-no-check-bucket",
                             "--checksum", "--retries", "1", "--low-level-retries", "3", "--ask-password=false"}) {
      child.words.emplace_back(word);
    }
    child.words.insert(child.words.end(), {"--contimeout", seconds(settings_.connectTimeout), "--timeout",
                                           seconds(settings_.readTimeout)});
    if (settings_.mostBytesPerSecond > 0) {
      child.words.insert(child.words.end(), {"--bwlimit", std::to_string(settings_.mostBytesPerSecond) + "B"});
    }
    child.onErrorLine = [&](std::string_view line) {
      const Told told = toldBy(line);
      if (onTold) onTold(told);
      if (!told.isError || told.message.empty() || ended.told.size() > kMostTold) return;
      ended.told += (ended.told.empty() ? "" : "\n") + shown(told.message);
    };
    ChildEnd end = run(child, stop);
    ended.code = end.code;
    ended.output = std::move(end.output);
    return ended;
  }

  std::string shown(std::string message) const { return withoutSigns(secrets_.without(std::move(message))); }

  static std::string seconds(core::Duration duration) { return std::to_string(duration.count()) + "ms"; }

  /// rclone 1.60 can't read S3 at all while AWS_CA_BUNDLE is set; what it means rclone takes by its own variable.
  static std::vector<std::pair<std::string, std::string>> environment() {
    std::vector<std::pair<std::string, std::string>> changes;
    const char* bundle = std::getenv("AWS_CA_BUNDLE");
    if (bundle == nullptr) return changes;
    changes.emplace_back("AWS_CA_BUNDLE", "");
    if (*bundle != '\0' && std::getenv("RCLONE_CA_CERT") == nullptr) changes.emplace_back("RCLONE_CA_CERT", bundle);
    return changes;
  }

  const Target target_;
  const RcloneSettings settings_;
  core::KnownSecrets secrets_;
};

}  // namespace

Target Target::parse(std::string_view text) {
  while (text.ends_with('/')) text.remove_suffix(1);
  if (text.empty()) refuse(text, "is empty");
  if (!text.starts_with(kScheme)) refuse(text, "begins with nothing that is known");
  const std::string_view root = text.substr(kScheme.size());
  const std::size_t end = endOfRemote(root);
  if (end == root.npos || end == 0 || root.substr(0, end) == ":") refuse(text, "names no remote of rclone");
  const std::string_view path = root.substr(end + 1);
  if (path.find_first_not_of('/') == path.npos) refuse(text, "has no path: name a bucket or a folder");
  for (const fs::path& part : fs::path(path)) {
    if (part == "..") refuse(text, "goes up in its path");
  }
  if (core::printable(text, 4 * text.size()) != text) refuse(text, "has characters that can't be shown");
  refuseSecrets(text, root.substr(0, end));
  Target target;
  target.text_ = text;
  target.root_ = root;
  return target;
}

void throwRcloneFailure(const std::string& what, int exitCode, const std::string& told) {
  Category category = categoryOf(told);
  // The last line sums up: one is enough for people.
  std::string line = told.substr(0, told.find('\n'));
  if (line.empty()) line = "exit code " + std::to_string(exitCode);
  throw Error(category, "rclone could not " + what + ": " + core::printable(line, 500), {.hint = hintFor(category)});
}

std::unique_ptr<ObjectStore> openRclone(const Target& target, const RcloneSettings& settings) {
  return std::make_unique<Rclone>(target, settings);
}

void probe(ObjectStore& store, const std::stop_token& stop) {
  // Passed over by readers of tables. Always the same, so that what a run left that was killed goes with the next.
  const std::string name = "_caiexport-probe";
  const std::array names{name};
  // Others may try at the same time, and delete it: all workers of a shared job begin so.
  constexpr int kTries = 20;
  for (int tries = 0; tries < kTries; ++tries) {
    store.putText(name, "probe", stop);
    const std::optional<std::string> back = store.text(name, stop);
    store.remove("", names, stop);
    if (back == "probe") return;
  }
  throw Error(Category::permission, "what was written to the target could not be read again",
              {.hint = "check that the remote may read there, and that nothing changes what is written"});
}

}  // namespace caiexport::objects
