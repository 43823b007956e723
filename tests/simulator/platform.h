#pragma once
/// A simulated platform in process and short words for talking to it.

#include <string>
#include <utility>
#include <vector>

#include "simulator/content.h"
#include "simulator/json.h"
#include "simulator/message.h"
#include "simulator/scenario.h"
#include "simulator/state.h"
#include "simulator/world.h"
#include "support/fake_clock.h"

namespace caiexport::simulator {

inline Headers goodHeaders() {
  return {{"Host", "sim.test:8443"},
          {"x-api-key", "sim-client"},
          {"Authorization", "Bearer sim-access-token"},
          {"x-gw-ims-org-id", "SIMULATOR@AdobeOrg"},
          {"x-sandbox-name", "prod"}};
}

inline Headers without(Headers headers, std::string_view name) {
  std::erase_if(headers, [&](const auto& header) { return header.first == name; });
  return headers;
}

inline Scenario scenarioFrom(const std::string& json) {
  Scenario scenario;
  applyScenario(scenario, json);
  return scenario;
}

class Platform {
 public:
  explicit Platform(const std::string& scenarioJson = "{}") : world(scenarioFrom(scenarioJson), data_, clock) {}

  Response send(const std::string& method, const std::string& target, const Headers& headers,
                const std::string& body = {}) {
    return world.handle({.method = method, .target = target, .headers = headers, .body = body});
  }

  Response get(const std::string& target) { return send("GET", target, goodHeaders()); }

  Response post(const std::string& target, const std::string& json) {
    Headers headers = goodHeaders();
    headers.emplace_back("Content-Type", "application/json");
    return send("POST", target, headers, json);
  }

  Response remove(const std::string& target) { return send("DELETE", target, goodHeaders()); }

  Response control(const std::string& path, const std::string& json) {
    return send("POST", "/_simulator/" + path, {}, json);
  }

  /// The id of a new dataset that an export may go to.
  std::string newDataset(const std::string& name) {
    const Response made = post(
        "/data/foundation/catalog/dataSets",
        R"({"name":")" + name +
            R"(","schemaRef":{"id":"https://ns.adobe.com/xdm/context/profile__union","contentType":"application/vnd.adobe.xed+json;version=1"}})");
    const std::string link = asArray(parseJson(made.body))->get(0).convert<std::string>();
    return link.substr(link.rfind('/') + 1);
  }

  Response startExport(const std::string& datasetId) {
    return post(
        "/data/core/ups/export/jobs",
        R"({"filter":{"segments":[{"segmentId":"7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a","segmentNs":"ups","status":["realized"]}]},)"
        R"("schema":{"name":"_xdm.context.profile"},"destination":{"datasetId":")" +
            datasetId + R"("}})");
  }

  support::FakeClock clock;

 private:
  PatternSource data_{1000};

 public:
  World world;
};

inline JsonObject jsonIn(const Response& response) {
  return asObject(parseJson(bodyText(response)));
}

inline std::vector<std::string> keysOf(const JsonObject& from) {
  const auto names = from->getNames();
  return {names.begin(), names.end()};
}

/// The path and query of a link, as a client at this origin would ask for it.
inline std::string targetOf(const std::string& href) {
  return href.substr(href.find('/', href.find("//") + 2));
}

inline std::string selfLink(const JsonObject& entry) {
  return objectIn(objectIn(entry, "_links"), "self")->getValue<std::string>("href");
}

/// Empty if there is no next page.
inline std::string nextLink(const JsonObject& page) {
  const JsonObject links = objectIn(page, "_links");
  const JsonObject next = links ? objectIn(links, "next") : JsonObject{};
  return next ? next->getValue<std::string>("href") : "";
}

inline const std::string batchesPath = "/data/foundation/catalog/batches";
inline const std::string scoreBatches = batchesPath + "?dataSet=5f0000000000000000000001";

}  // namespace caiexport::simulator
