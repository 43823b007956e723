#include "caiexport/model/replacement.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "caiexport/core/text.h"

namespace caiexport::model {
namespace {

constexpr std::array<std::string_view, 9> kPrivacyWords{"privacy", "gdpr",      "ccpa",  "lgpd",   "erasure",
                                                        "erase",   "forgotten", "delet", "hygiene"};

class Chains {
 public:
  explicit Chains(std::span<const Batch> batches) {
    for (const Batch& batch : batches) byId_.emplace(batch.id, &batch);
    for (const Batch& batch : batches) {
      for (const BatchId& predecessor : batch.predecessors) {
        if (predecessor != batch.id) replaced_.insert(predecessor);
      }
    }
  }

  std::vector<Superseded> all() {
    std::vector<const Batch*> ends;
    for (const auto& [id, batch] : byId_) {
      if (!replaced_.contains(id)) ends.push_back(batch);
    }
    // The newest end of a batch's chains is the one that stands for it.
    std::ranges::sort(ends, [](const Batch* left, const Batch* right) { return left->created > right->created; });
    for (const Batch* end : ends) follow(*end, end->id, false);
    std::vector<Superseded> list;
    for (auto& [id, superseded] : found_) list.push_back(std::move(superseded));
    return list;
  }

 private:
  void follow(const Batch& batch, const BatchId& end, bool privacy) {
    privacy = privacy || isPrivacyDeletion(batch.replayReason);
    for (const BatchId& id : batch.predecessors) {
      if (id == end) continue;  // a circle
      const auto [entry, isNew] = found_.try_emplace(id, Superseded{id, end, batch.replayReason, privacy});
      const bool nowPrivate = privacy && !entry->second.privacy;
      if (nowPrivate) entry->second = {id, entry->second.by, batch.replayReason, true};
      const auto next = byId_.find(id);
      if ((isNew || nowPrivate) && next != byId_.end()) follow(*next->second, end, privacy);
    }
  }

  std::map<BatchId, const Batch*> byId_;
  std::set<BatchId> replaced_;
  std::map<BatchId, Superseded> found_;
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
  return Chains(batches).all();
}

}  // namespace caiexport::model
