/// Each file in fixtures/ is what the platform answers to one call of the client, and what the client makes of it.
/// fixtures/README.md says how such a file is written.

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/ParseHandler.h>
#include <Poco/JSON/Parser.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "caiexport/core/file_system.h"
#include "caiexport/core/text.h"
#include "fixture.h"

namespace caiexport::platform {
namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

/// What is known of one thing, by name; what is not told is left out.
using Reading = std::map<std::string, std::string>;
using Readings = std::vector<Reading>;

void set(Reading& reading, const std::string& name, const std::string& value) {
  if (!value.empty()) reading[name] = value;
}
void set(Reading& reading, const std::string& name, std::optional<core::TimePoint> time) {
  if (time && *time != core::TimePoint()) reading[name] = core::formatTime(*time);
}
void set(Reading& reading, const std::string& name, std::optional<std::uint64_t> number) {
  if (number) reading[name] = std::to_string(*number);
}
void set(Reading& reading, const std::string& name, bool flag) {
  if (flag) reading[name] = "yes";
}
void set(Reading& reading, const std::string& name, const char*) = delete;

std::string textOf(const std::string& text) {
  return text;
}
std::string textOf(const RemoteJobProblem& problem) {
  return problem.code + ": " + problem.message;
}
std::string textOf(const ExportJob::Filter& filter) {
  std::string text = filter.segmentNamespace + "/" + filter.segment.value();
  for (const std::string& status : filter.statuses) text += " " + status;
  return text;
}
template <class Id>
std::string textOf(const Id& id) {
  return id.value();
}
template <class Element>
void setList(Reading& reading, const std::string& name, const std::vector<Element>& list) {
  std::string text;
  for (const Element& element : list) text += (text.empty() ? "" : ", ") + textOf(element);
  set(reading, name, text);
}

Reading readingOf(const model::Batch& batch) {
  Reading reading;
  set(reading, "id", batch.id.value());
  set(reading, "status", batch.status);
  set(reading, "created", std::optional(batch.created));
  set(reading, "created_client", batch.createdClient);
  set(reading, "created_user", batch.createdUser);
  if (batch.kind == model::BatchKind::consolidation) reading["kind"] = "consolidation";
  if (batch.kind == model::BatchKind::tracking) reading["kind"] = "tracking";
  setList(reading, "datasets", batch.datasets);
  setList(reading, "absorbed", batch.absorbed);
  set(reading, "records", batch.records);
  setList(reading, "predecessors", batch.predecessors);
  set(reading, "replay_reason", batch.replayReason);
  set(reading, "flaw", batch.flaw);
  set(reading, "external_id", batch.externalId);
  setList(reading, "predecessors_by_external_id", batch.predecessorsByExternalId);
  return reading;
}

Reading readingOf(const FailedBatch& batch) {
  Reading reading = readingOf(static_cast<const model::Batch&>(batch));
  std::string errors;
  for (const BatchError& error : batch.errors) {
    errors += (errors.empty() ? "" : "; ") + error.code + ": " + error.description;
    for (const std::string& row : error.rows) errors += " [" + row + "]";
  }
  set(reading, "errors", errors);
  set(reading, "failed_records", batch.failedRecords);
  return reading;
}

Reading readingOf(const Dataset& dataset) {
  Reading reading;
  set(reading, "id", dataset.id.value());
  set(reading, "name", dataset.name);
  set(reading, "description", dataset.description);
  set(reading, "schema", dataset.schemaId);
  set(reading, "created", std::optional(dataset.created));
  set(reading, "snapshot", dataset.snapshot);
  return reading;
}

Reading readingOf(const model::RemoteFile& file) {
  Reading reading;
  set(reading, "batch", file.batchId.value());
  set(reading, "dataset_file", file.datasetFileId.value());
  set(reading, "name", file.name);
  set(reading, "bytes", std::optional(file.lengthBytes));
  set(reading, "href", file.href);
  return reading;
}

Reading readingOf(const FailureFile& file) {
  Reading reading = readingOf(file.remote);
  set(reading, "path", file.path);
  return reading;
}

Reading readingOf(const SegmentDefinition& segment) {
  Reading reading;
  set(reading, "id", segment.id.value());
  set(reading, "name", segment.name);
  set(reading, "merge_policy", segment.mergePolicyId);
  set(reading, "updated", segment.updated);
  set(reading, "namespace", segment.segmentNamespace);
  set(reading, "origin", segment.origin);
  set(reading, "state", segment.state);
  set(reading, "evaluated_at", segment.evaluatedAt);
  set(reading, "members", segment.members);
  return reading;
}

std::string phaseName(RemotePhase phase) {
  switch (phase) {
    case RemotePhase::moving:
      return "moving";
    case RemotePhase::succeeded:
      return "succeeded";
    case RemotePhase::failed:
      return "failed";
    case RemotePhase::cancelled:
      return "cancelled";
  }
  return "";
}

Reading readingOf(const SegmentJob& job) {
  Reading reading;
  set(reading, "id", job.id.value());
  set(reading, "status", job.status);
  set(reading, "phase", phaseName(job.phase));
  setList(reading, "segments", job.segments);
  setList(reading, "evaluated", job.evaluated);
  set(reading, "created", std::optional(job.created));
  set(reading, "updated", job.updated);
  setList(reading, "problems", job.problems);
  set(reading, "request_id", job.requestId);
  return reading;
}

Reading readingOf(const ExportJob& job) {
  Reading reading;
  set(reading, "id", job.id.value());
  set(reading, "status", job.status);
  set(reading, "phase", phaseName(job.phase));
  set(reading, "dataset", job.dataset.value());
  setList(reading, "segments", job.filters);
  setList(reading, "fields", job.scope.fields);
  set(reading, "merge_policy", job.scope.mergePolicyId);
  if (job.scope.mergePolicyVersion) reading["merge_policy_version"] = std::to_string(*job.scope.mergePolicyVersion);
  set(reading, "qualified_since", job.scope.qualifiedSince);
  set(reading, "qualified_until", job.scope.qualifiedUntil);
  set(reading, "ingested_since", job.scope.ingestedSince);
  set(reading, "empty_profiles", job.scope.emptyProfiles);
  setList(reading, "event_fields", job.scope.eventFields);
  set(reading, "events_since", job.scope.eventsSince);
  set(reading, "events_until", job.scope.eventsUntil);
  if (job.segmentPerBatch) reading["segment_per_batch"] = *job.segmentPerBatch ? "yes" : "no";
  set(reading, "schema", job.schemaName);
  setList(reading, "batches", job.batches);
  set(reading, "profiles", job.exportedProfiles);
  set(reading, "created", std::optional(job.created));
  set(reading, "updated", job.updated);
  setList(reading, "problems", job.problems);
  set(reading, "request_id", job.requestId);
  return reading;
}

Reading readingOf(const core::Error& error) {
  Reading reading;
  set(reading, "refused", std::string(core::nameOf(error.category())));
  // Of the request in front of it the address alone would make three lines.
  constexpr std::string_view kAnswered = "was answered by ";
  const std::string message = error.what();
  const std::size_t at = message.find(kAnswered);
  set(reading, at == std::string::npos ? "message" : "answered",
      at == std::string::npos ? message : message.substr(at + kAnswered.size()));
  set(reading, "hint", error.hint());
  set(reading, "code", error.code());
  set(reading, "request_id", error.requestId());
  return reading;
}

std::string rendered(const Object::Ptr& object) {
  std::ostringstream text;
  object->stringify(text);
  return text.str();
}

/// Whether the URL has the method's path and each parameter that is named there; others may be beside them.
support::UrlMatcher askedFor(const std::string& target) {
  const auto split = [](const std::string& text) {
    const std::size_t mark = std::min(text.find('?'), text.size());
    std::set<std::string> parameters;
    std::istringstream query(text.substr(std::min(mark + 1, text.size())));
    for (std::string one; std::getline(query, one, '&');) parameters.insert(one);
    return std::pair(text.substr(0, mark), parameters);
  };
  return [=, wanted = split(target)](const net::Url& url) {
    const auto [path, parameters] = split(url.target);
    return path == wanted.first && std::ranges::includes(parameters, wanted.second);
  };
}

/// Catalog's lists: entries by id, from `start` on, `limit` of them.
std::string pageOf(Object::Ptr list, const std::string& target) {
  const auto number = [&](const std::string& name) {
    const std::size_t at = target.find("&" + name + "=");
    return at == std::string::npos ? 0 : std::stoul(target.substr(at + name.size() + 2));
  };
  const Object::NameList names = list->getNames();
  const std::size_t first = std::min<std::size_t>(number("start"), names.size());
  const std::size_t count = std::min<std::size_t>(number("limit"), names.size() - first);
  Object::Ptr page = new Object(Poco::JSON_PRESERVE_KEY_ORDER);
  for (std::size_t i = first; i < first + count; ++i) page->set(names[i], list->get(names[i]));
  return rendered(page);
}

class PayloadTest : public ClientTest {
 protected:
  using Call = std::function<Readings(const std::string& id)>;

  template <class Found>
  static Readings ifAny(const std::optional<Found>& found) {
    return found ? Readings{readingOf(*found)} : Readings{};
  }
  template <class List>
  static Readings all(const List& list) {
    Readings readings;
    list([&](const auto& entry) {
      readings.push_back(readingOf(entry));
      return true;
    });
    return readings;
  }

  Readings token() {
    ImsTokenSource source({.imsUrl = "https://ims.example",
                           .clientId = "the-client",
                           .clientSecret = core::Secret("s3cret"),
                           .scopes = "openid",
                           .orgId = "ORG@AdobeOrg"},
                          transport, clock, random, log);
    const std::string first(source.token(stop).reveal());
    const std::size_t asked = transport.requestCount();
    transport.on("POST", "/ims/token/v3").answers(200, R"({"access_token": "the.next", "expires_in": 9})");
    int minutes = 0;
    while (transport.requestCount() == asked) {
      clock.advance(std::chrono::minutes(1));
      ++minutes;
      source.token(stop);
    }
    return {{{"token", first}, {"renewed_after_minutes", std::to_string(minutes)}}};
  }

  Readings files(const std::string& batch) {
    Readings readings;
    client.listFiles(
        model::BatchId(batch),
        [&](std::vector<model::RemoteFile>&& files) {
          for (const model::RemoteFile& file : files) readings.push_back(readingOf(file));
        },
        stop);
    return readings;
  }

  static Readings said(const std::string& name, const std::string& value) { return {{{name, value}}}; }

  const std::map<std::string, Call> calls_{
      {"ask for a token", [this](const std::string&) { return token(); }},
      {"list the batches",
       [this](const std::string& id) {
         return all([&](const auto& visit) {
           client.forEachBatch(
               {.dataset = model::DatasetId(id), .statuses = {}, .everyKind = true},
               [&](const model::Batch& batch) { return visit(batch); }, stop);
         });
       }},
      {"choose among the batches",
       [this](const std::string& id) {
         return all([&](const auto& visit) {
           client.forEachBatch(
               {.dataset = model::DatasetId(id)}, [&](const model::Batch& batch) { return visit(batch); }, stop);
         });
       }},
      {"find the batch", [this](const std::string& id) { return ifAny(client.findBatch(model::BatchId(id), stop)); }},
      {"list the failed batches",
       [this](const std::string& id) {
         return all([&](const auto& visit) { client.forEachFailedBatch(model::DatasetId(id), {}, visit, stop); });
       }},
      {"find the failed batch",
       [this](const std::string& id) { return ifAny(client.findFailedBatch(model::BatchId(id), stop)); }},
      {"list the datasets",
       [this](const std::string&) { return all([&](const auto& visit) { client.forEachDataset(visit, stop); }); }},
      {"find the dataset",
       [this](const std::string& id) { return ifAny(client.findDataset(model::DatasetId(id), stop)); }},
      {"find datasets by name",
       [this](const std::string& name) {
         Readings readings;
         for (const Dataset& dataset : client.findDatasetsByName(name, stop)) readings.push_back(readingOf(dataset));
         return readings;
       }},
      {"create the dataset",
       [this](const std::string& name) { return said("id", client.createDataset({.name = name}, stop).value()); }},
      {"delete the dataset",
       [this](const std::string& id) {
         client.deleteDataset(model::DatasetId(id), stop);
         return Readings();
       }},
      {"list the files", [this](const std::string& id) { return files(id); }},
      {"list what is kept of a failed batch",
       [this](const std::string& id) {
         Readings readings;
         for (const FailureFile& file : client.listFailureFiles(model::BatchId(id), stop))
           readings.push_back(readingOf(file));
         return readings;
       }},
      {"find the segment",
       [this](const std::string& id) { return ifAny(client.findSegment(model::SegmentId(id), stop)); }},
      {"list the segments",
       [this](const std::string&) { return all([&](const auto& visit) { client.forEachSegment(visit, stop); }); }},
      {"find the audience",
       [this](const std::string& id) { return ifAny(client.findAudience(model::SegmentId(id), stop)); }},
      {"list the audiences",
       [this](const std::string&) { return all([&](const auto& visit) { client.forEachAudience(visit, stop); }); }},
      {"start a segment job",
       [this](const std::string& id) {
         const std::vector<model::SegmentId> segments{model::SegmentId(id)};
         return Readings{readingOf(client.startSegmentJob(segments, stop))};
       }},
      {"find the segment job",
       [this](const std::string& id) { return ifAny(client.findSegmentJob(model::SegmentJobId(id), stop)); }},
      {"list the segment jobs",
       [this](const std::string&) { return all([&](const auto& visit) { client.forEachSegmentJob(visit, stop); }); }},
      {"list the evaluations",
       [this](const std::string&) { return all([&](const auto& visit) { client.forEachEvaluation(visit, stop); }); }},
      {"cancel the segment job",
       [this](const std::string& id) {
         return said("known", client.cancelSegmentJob(model::SegmentJobId(id), stop) ? "yes" : "no");
       }},
      {"start an export job",
       [this](const std::string& id) {
         return Readings{readingOf(
             client.startExportJob({.dataset = model::DatasetId("5f00aa"), .segments = {model::SegmentId(id)}}, stop))};
       }},
      {"find the export job",
       [this](const std::string& id) { return ifAny(client.findExportJob(model::ExportJobId(id), stop)); }},
      {"list the export jobs",
       [this](const std::string&) { return all([&](const auto& visit) { client.forEachExportJob(visit, stop); }); }},
      {"cancel the export job",
       [this](const std::string& id) {
         return said("known", client.cancelExportJob(model::ExportJobId(id), stop) ? "yes" : "no");
       }},
      {"list the union schemas",
       [this](const std::string&) {
         Readings readings;
         for (const std::string& id : client.unionSchemaIds(stop)) readings.push_back({{"id", id}});
         return readings;
       }},
      {"list the sandboxes",
       [this](const std::string&) {
         Readings readings;
         for (const Sandbox& sandbox : client.sandboxes(stop))
           readings.push_back({{"name", sandbox.name}, {"title", sandbox.title}, {"state", sandbox.state}});
         return readings;
       }},
  };

  static std::vector<std::filesystem::path> fixtures() {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(CAIEXPORT_PAYLOADS)) {
      if (entry.path().extension() == ".json") files.push_back(entry.path());
    }
    std::ranges::sort(files);
    return files;
  }
  static Object::Ptr parsed(const std::filesystem::path& file) {
    Poco::JSON::Parser parser(new Poco::JSON::ParseHandler(true));
    return parser.parse(core::readFile(file)).extract<Object::Ptr>();
  }

  void expect(const Object::Ptr& answer) {
    const std::string to = answer->getValue<std::string>("to");
    const std::size_t blank = to.find(' ');
    const std::string target = to.substr(blank + 1);
    net::Headers headers;
    if (const Object::Ptr named = answer->getObject("headers")) {
      for (const std::string& name : named->getNames()) headers.add(name, named->getValue<std::string>(name));
    }
    const int status = answer->optValue("status", 200);
    auto& stub = transport.on(to.substr(0, blank), askedFor(target), to);
    if (const Object::Ptr list = answer->getObject("catalog_list")) {
      stub.answers([=](const net::HttpRequest& request) {
            return support::reply(status, pageOf(list, request.url), headers);
          })
          .forEver();
      return;
    }
    std::string body = answer->optValue("text", std::string());
    if (const Object::Ptr object = answer->getObject("body")) body = rendered(object);
    if (const Array::Ptr array = answer->getArray("body")) {
      std::ostringstream text;
      array->stringify(text);
      body = text.str();
    }
    stub.answers(status, body, headers);
    if (answer->optValue("for_ever", false)) stub.forEver();
  }

  Readings read(const Object::Ptr& fixture) {
    const Array::Ptr answers = fixture->getArray("answers");
    for (std::size_t i = 0; i < answers->size(); ++i) expect(answers->getObject(static_cast<unsigned>(i)));
    try {
      return calls_.at(fixture->getValue<std::string>("call"))(fixture->optValue("id", std::string()));
    } catch (const core::Error& error) {
      return {readingOf(error)};
    }
  }

  static Readings expected(const Object::Ptr& fixture) {
    Readings readings;
    const Array::Ptr list = fixture->getArray("reading");
    for (std::size_t i = 0; i < list->size(); ++i) {
      const Object::Ptr object = list->getObject(static_cast<unsigned>(i));
      Reading& reading = readings.emplace_back();
      for (const std::string& name : object->getNames()) reading[name] = object->getValue<std::string>(name);
    }
    return readings;
  }
};

TEST_F(PayloadTest, EachFixtureIsReadAsItSays) {
  for (const std::filesystem::path& file : fixtures()) {
    SCOPED_TRACE(file.filename().string());
    const Object::Ptr fixture = parsed(file);
    EXPECT_EQ(read(fixture), expected(fixture));
    // Each answer was asked for.
    transport.verify();
  }
}

TEST_F(PayloadTest, EachCallHasAFixture) {
  std::set<std::string> without;
  for (const auto& [name, call] : calls_) without.insert(name);
  for (const std::filesystem::path& file : fixtures()) {
    const std::string name = parsed(file)->getValue<std::string>("call");
    EXPECT_TRUE(calls_.contains(name)) << file << " is of a call that this test does not know: " << name;
    without.erase(name);
  }
  EXPECT_THAT(without, testing::IsEmpty());
}

/// A file of another ending, or in a folder, would be read by nobody.
TEST_F(PayloadTest, NoFileOfTheFolderIsPassedOver) {
  std::set<std::string> others;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(CAIEXPORT_PAYLOADS)) {
    others.insert(entry.path().filename().string());
  }
  for (const std::filesystem::path& file : fixtures()) others.erase(file.filename().string());
  EXPECT_THAT(others, testing::ElementsAre("README.md"));
}

}  // namespace
}  // namespace caiexport::platform
