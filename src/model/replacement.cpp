#include "caiexport/model/replacement.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "caiexport/core/text.h"

namespace caiexport::model {
namespace {

constexpr std::array<std::string_view, 9> kPrivacyWords{"privacy", "gdpr",      "ccpa",  "lgpd",   "erasure",
                                                        "erase",   "forgotten", "delet", "hygiene"};

/// Who replaces whom. Nothing here recurses: a chain may be as long as a list of the platform's.
class Graph {
 public:
  explicit Graph(std::span<const Batch> batches) {
    for (const Batch& batch : batches) {
      const std::size_t heir = nodeOf(batch.id);
      nodes_[heir].created = std::max(nodes_[heir].created, batch.created);
      const bool privacy = isPrivacyDeletion(batch.replayReason);
      for (const BatchId& id : batch.predecessors) {
        const std::size_t predecessor = nodeOf(id);
        if (predecessor == heir) continue;  // it can't replace itself
        nodes_[heir].predecessors.push_back({.node = predecessor, .reason = batch.replayReason, .privacy = privacy});
        nodes_[predecessor].heirs.push_back(heir);
      }
    }
  }

  std::vector<Superseded> superseded() {
    std::vector<std::size_t> ends = endsOfChains();
    // The newest end of a batch's chains is the one that stands for it.
    std::ranges::sort(ends, [this](std::size_t left, std::size_t right) { return isNewer(left, right); });
    for (const std::size_t end : ends) follow(end);
    std::vector<Superseded> list;
    for (auto& [node, one] : found_) list.push_back(std::move(one));
    return list;
  }

 private:
  struct Edge {
    std::size_t node = 0;
    std::string_view reason = {};
    bool privacy = false;
  };
  struct Node {
    BatchId id = {};
    core::TimePoint created = core::TimePoint::min();
    std::vector<Edge> predecessors = {};
    std::vector<std::size_t> heirs = {};
  };

  std::size_t nodeOf(const BatchId& id) {
    const auto [entry, isNew] = byId_.try_emplace(id, nodes_.size());
    if (isNew) nodes_.push_back({.id = id});
    return entry->second;
  }

  bool isNewer(std::size_t left, std::size_t right) const {
    return std::tie(nodes_[left].created, nodes_[left].id) > std::tie(nodes_[right].created, nodes_[right].id);
  }

  /// Heirs before what they replace; of a circle, in some order.
  std::vector<std::size_t> heirsFirst() const {
    std::vector<std::size_t> finished;
    std::vector<bool> seen(nodes_.size());
    std::vector<std::pair<std::size_t, std::size_t>> path;  // node, next of its predecessors
    for (std::size_t start = 0; start < nodes_.size(); ++start) {
      if (seen[start]) continue;
      seen[start] = true;
      path.emplace_back(start, 0);
      while (!path.empty()) {
        auto& [node, next] = path.back();
        if (next == nodes_[node].predecessors.size()) {
          finished.push_back(node);
          path.pop_back();
          continue;
        }
        const std::size_t predecessor = nodes_[node].predecessors[next++].node;
        if (seen[predecessor]) continue;
        seen[predecessor] = true;
        path.emplace_back(predecessor, 0);
      }
    }
    std::ranges::reverse(finished);
    return finished;
  }

  /// What nothing replaces; of batches that replace one another in a circle, and that nothing else replaces, the newest
  /// (Kosaraju's algorithm: the circles are found against the arrows, heirs first).
  std::vector<std::size_t> endsOfChains() const {
    std::vector<std::size_t> ends;
    std::vector<bool> taken(nodes_.size());
    for (const std::size_t start : heirsFirst()) {
      if (taken[start]) continue;
      std::vector<std::size_t> circle{start};
      taken[start] = true;
      for (std::size_t at = 0; at < circle.size(); ++at) {
        for (const std::size_t heir : nodes_[circle[at]].heirs) {
          if (!taken[heir]) circle.push_back(heir);
          taken[heir] = true;
        }
      }
      const std::set<std::size_t> members(circle.begin(), circle.end());
      const bool replaced = std::ranges::any_of(circle, [&](std::size_t node) {
        return std::ranges::any_of(nodes_[node].heirs, [&](std::size_t heir) { return !members.contains(heir); });
      });
      if (replaced) continue;
      ends.push_back(*std::ranges::min_element(
          circle, [this](std::size_t left, std::size_t right) { return isNewer(left, right); }));
    }
    return ends;
  }

  void follow(std::size_t end) {
    struct Visit {
      std::size_t node = 0;
      std::string_view privacy = {};  ///< The reason of a privacy deletion on the way here.
    };
    std::vector<Visit> waiting{{.node = end}};
    while (!waiting.empty()) {
      const Visit visit = waiting.back();
      waiting.pop_back();
      for (const Edge& edge : nodes_[visit.node].predecessors) {
        if (edge.node == end) continue;
        const std::string_view privacy = edge.privacy ? edge.reason : visit.privacy;
        const std::string reason(privacy.empty() ? edge.reason : privacy);
        const auto [entry, isNew] =
            found_.try_emplace(edge.node, Superseded{nodes_[edge.node].id, nodes_[end].id, reason, !privacy.empty()});
        Superseded& one = entry->second;
        const bool nowPrivate = !privacy.empty() && !one.privacy;
        if (nowPrivate) one = {one.batch, one.by, reason, true};
        if (isNew || nowPrivate) waiting.push_back({.node = edge.node, .privacy = privacy});
      }
    }
  }

  std::vector<Node> nodes_;
  std::map<BatchId, std::size_t> byId_;
  std::map<std::size_t, Superseded> found_;
};

}  // namespace

std::string_view nameOf(ReplaceAction action) {
  switch (action) {
    case ReplaceAction::keep:
      return "keep";
    case ReplaceAction::aside:
      return "aside";
    case ReplaceAction::remove:
      return "delete";
    case ReplaceAction::skip:
      return "skip";
  }
  return "keep";
}

std::optional<ReplaceAction> replaceActionFrom(std::string_view name) {
  for (const ReplaceAction action :
       {ReplaceAction::keep, ReplaceAction::aside, ReplaceAction::remove, ReplaceAction::skip}) {
    if (nameOf(action) == name) return action;
  }
  return std::nullopt;
}

bool isPrivacyDeletion(std::string_view replayReason) {
  const std::string reason = core::toLower(replayReason);
  return std::ranges::any_of(kPrivacyWords, [&](std::string_view word) { return reason.find(word) != reason.npos; });
}

std::vector<Superseded> supersededBy(std::span<const Batch> batches) {
  return Graph(batches).superseded();
}

}  // namespace caiexport::model
