#pragma once
/// What other users of the machine may have put where this one is about to read or write.

#include <filesystem>
#include <string_view>

namespace caiexport::core {

/// Error(io) "cannot use WHAT PATH: REASON" unless the file is a regular one of this user. No error if nothing is
/// there. A link counts only if this user or root made it. Nothing is opened, so the process keeps its locks on the
/// file.
void requireOwnFile(const std::filesystem::path& path, std::string_view what);

/// As requireOwnFile(), but root's files are as good, as are pipes and devices: what may be read for settings.
/// Error(config); also if everybody may write to it.
void requireTrusted(const std::filesystem::path& path, std::string_view what);

/// Takes from others what they may do with a file or folder of this user, unless `kept` (of 0077) has it. Does nothing
/// to what is not this user's, and where it does not work.
void makePrivate(const std::filesystem::path& path, unsigned kept = 0);

/// A file to append to, made with mode 0600 if it is not there. Error(io) "cannot open WHAT PATH: REASON" for a link,
/// for what is no regular file or has a second name, and for a file of another user. Never waits for the other end of a
/// pipe. The caller closes the descriptor.
int openToAppend(const std::filesystem::path& path, std::string_view what);

}  // namespace caiexport::core
