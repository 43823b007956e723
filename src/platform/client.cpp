/// Names of datasets: "Input and output in Customer AI"; the second dataset, of events: "Integrate Customer AI data
/// with Customer Journey Analytics".

#include "caiexport/platform/client.h"

#include "caiexport/core/text.h"
#include "caller.h"
#include "client_implementation.h"
#include "links.h"
#include "problem.h"

namespace caiexport::platform {
std::optional<Json> Client::Implementation::poll(Call call, std::stop_token stop) {
  call.mayBeMissing = true;
  const net::HttpResponse response = caller.send(call, stop);
  {
    const std::lock_guard lock(mutex_);
    lastRetryAfter_ = retryAfterOf(response, clock_.now());
  }
  if (response.status == 404) return std::nullopt;
  return Caller::parse(call, response);
}

std::optional<core::Duration> Client::Implementation::lastRetryAfter() const {
  const std::lock_guard lock(mutex_);
  return lastRetryAfter_;
}

Client::Client(ClientSettings settings, net::HttpTransport& transport, TokenSource& tokens, core::Clock& clock,
               core::Random& random, core::Log& log)
    : implementation_(std::make_unique<Implementation>(std::move(settings), transport, tokens, clock, random, log)) {}

Client::~Client() = default;

std::vector<std::string> Client::unionSchemaIds(std::stop_token stop) {
  Caller& caller = implementation_->caller;
  std::vector<std::string> ids;
  // "Schema Registry API guide": this service answers only to its own media types.
  Call call{.what = "list the union schemas",
            .url = caller.url("/data/foundation/schemaregistry/tenant/unions"),
            .accept = "application/vnd.adobe.xed-id+json"};
  const auto read = [&](const Call& page, const net::HttpResponse& response) {
    const Json answer = Caller::parse(page, response);
    Page result;
    for (const Json& schema : answer.at("results").elements()) {
      ids.push_back(schema.at("$id").text());
      ++result.entries;
    }
    result.fresh = result.entries;
    const Json next = answer.at("_links").at("next").at("href");
    if (next.exists()) result.next = sameOriginLink(caller.origin(), page.url, next);
    return result;
  };
  followPages(caller, std::move(call), read, stop);
  return ids;
}

std::vector<Sandbox> Client::sandboxes(std::stop_token stop) {
  Caller& caller = implementation_->caller;
  std::vector<Sandbox> result;
  Call call{.what = "list the sandboxes", .url = caller.url("/data/foundation/sandbox-management/sandboxes?limit=100")};
  const auto read = [&](const Call& page, const net::HttpResponse& response) {
    const Json answer = Caller::parse(page, response);
    Page counts;
    for (const Json& sandbox : answer.at("sandboxes").elements()) {
      result.push_back({.name = sandbox.at("name").text(),
                        .title = sandbox.at("title").textOrEmpty(),
                        .state = sandbox.at("state").textOrEmpty()});
      ++counts.entries;
    }
    counts.fresh = counts.entries;
    const Json next = answer.at("_links").at("next").at("href");
    if (next.exists()) counts.next = sameOriginLink(caller.origin(), page.url, next);
    return counts;
  };
  followPages(caller, std::move(call), read, stop);
  return result;
}

core::TimePoint Client::serverNow() const {
  return implementation_->caller.serverNow();
}

std::optional<core::Duration> Client::clockSkew() const {
  return implementation_->caller.clockSkew();
}

std::optional<std::chrono::nanoseconds> Client::shortestAnswer() const {
  return implementation_->caller.shortestAnswer();
}

std::optional<core::Duration> Client::lastRetryAfter() const {
  return implementation_->lastRetryAfter();
}

/// Names of datasets: "Input and output in Customer AI"; the second dataset, of events: "Integrate Customer AI data
/// with Customer Journey Analytics".
DatasetUse useOf(const Dataset& dataset) {
  const std::string name = core::toLower(dataset.name);
  if (dataset.snapshot) return DatasetUse::snapshot;
  if (name.starts_with("customer ai scores in ee format")) return DatasetUse::scoreEvents;
  if (name.starts_with("customer ai scores")) return DatasetUse::scores;
  if (name.starts_with("profile-snapshot") || name.starts_with("profile snapshot")) {
    return DatasetUse::snapshot;
  }
  return dataset.schemaId == kProfileUnionSchema ? DatasetUse::audience : DatasetUse::other;
}

}  // namespace caiexport::platform
