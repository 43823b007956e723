#pragma once
/// From a host name to a connected TCP socket.

#include <Poco/Net/SocketAddress.h>
#include <Poco/Net/StreamSocket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "caiexport/core/clock.h"
#include "poco_transport_wait.h"

namespace caiexport::net {

/// All addresses of a host in the order in which the system wants them tried. For a loopback name (isLoopback) only
/// loopback addresses. Ends at once on a stop request; `limit` bounds the look-up. AttemptFailure if there is none.
std::vector<Poco::Net::SocketAddress> lookUp(const std::string& host, std::uint16_t port, core::Duration limit,
                                             const StopSignal& stop);

/// The first of the addresses that answers; each gets an equal share of the time left. The socket is non-blocking.
/// AttemptFailure that names every address and why it failed.
Poco::Net::StreamSocket connectTcp(const std::vector<Poco::Net::SocketAddress>& addresses, core::SteadyTime until,
                                   const StopSignal& stop);

}  // namespace caiexport::net
