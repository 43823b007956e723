/// caiexport-latency-proxy: a link with latency, a rate per connection and one for all of them, below TLS, for
/// scripts/bench.
///
///   --to PORT       where connections are taken to, on loopback
///   --latency MS    each way [25]
///   --rate MB/S     per connection, from the server to the client; 0 for no limit [20]
///   --total MB/S    of all connections together, in the same direction; 0 for no limit [0]
///
/// Prints the port that it listens on and runs until it is killed. The three packets that open a TCP connection are the
/// kernel's and cost nothing; everything after them is delayed, so a TLS 1.3 handshake takes one round trip.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using Time = std::chrono::steady_clock::time_point;
using std::chrono::nanoseconds;

constexpr std::size_t kBlockBytes = 64U << 10U;
constexpr int kSocketBytes = 128 << 10;
/// What a router on the way would hold back; without it a rate could not be kept up.
constexpr std::uint64_t kQueueBytes = 256U << 10U;
constexpr std::uint64_t kUnlimitedBytes = 4U << 20U;
/// Bytes that are due within this time go together, so that the processor is left to those who are measured.
constexpr nanoseconds kTogether{500'000};

struct Settings {
  std::uint16_t to = 0;
  nanoseconds latency = std::chrono::milliseconds(25);
  std::uint64_t bytesPerSecond = 20'000'000;
  std::uint64_t totalBytesPerSecond = 0;
};

[[noreturn]] void throwSystem(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

using Block = std::array<char, kBlockBytes>;

/// Blocks that were used last are given out first: they are in the cache.
class Blocks {
 public:
  std::unique_ptr<Block> take() {
    if (free_.empty()) return std::make_unique_for_overwrite<Block>();
    std::unique_ptr<Block> block = std::move(free_.back());
    free_.pop_back();
    return block;
  }
  void giveBack(std::unique_ptr<Block> block) { free_.push_back(std::move(block)); }

 private:
  std::vector<std::unique_ptr<Block>> free_;
};

/// A socket in the epoll set.
class Socket {
 public:
  Socket(int epoll, int descriptor) : epoll_(epoll), descriptor_(descriptor) {}
  ~Socket() { ::close(descriptor_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int descriptor() const { return descriptor_; }

  void watch(std::uint32_t event, bool wanted, void* owner) {
    const std::uint32_t events = wanted ? events_ | event : events_ & ~event;
    if (events == events_ && added_) return;
    events_ = events;
    epoll_event change{.events = events, .data = {.ptr = owner}};
    if (::epoll_ctl(epoll_, added_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor_, &change) != 0) throwSystem("epoll");
    added_ = true;
  }

 private:
  int epoll_;
  int descriptor_;
  std::uint32_t events_ = 0;
  bool added_ = false;
};

/// Bytes that are under way.
struct Parcel {
  Time due;
  std::unique_ptr<Block> block;  ///< None: the end of the stream.
  std::size_t first = 0;
  std::size_t end = 0;
};

/// What all connections share: a line that takes one piece after another, and a queue before it that is short, as in a
/// router that keeps delays low. Who finds it full comes again in turn (Proxy::waiting_).
class Bottleneck {
 public:
  explicit Bottleneck(std::uint64_t bytesPerSecond) : bytesPerSecond_(bytesPerSecond) {}

  /// When there is room for the next piece.
  Time roomAt() const { return free_ - kQueue; }
  /// When `count` bytes that come to it now have left it.
  Time pass(Time now, std::size_t count) {
    free_ = std::max(now, free_) + nanoseconds(count * 1'000'000'000 / bytesPerSecond_);
    return free_;
  }
  bool isShared() const { return bytesPerSecond_ > 0; }
  /// For a connection that others stand in line before, unless it is its turn, there is none.
  bool hasRoom(Time now) const { return roomAt() <= now && (!othersWait || isTurn); }

  bool othersWait = false;
  bool isTurn = false;

 private:
  static constexpr nanoseconds kQueue = std::chrono::milliseconds(20);

  std::uint64_t bytesPerSecond_;
  Time free_{};
};

/// One way of a connection.
class Link {
 public:
  Link(Blocks& blocks, nanoseconds latency, std::uint64_t bytesPerSecond, Bottleneck* shared = nullptr)
      : blocks_(blocks), latency_(latency), bytesPerSecond_(bytesPerSecond), shared_(shared) {
    const double seconds = std::chrono::duration<double>(latency).count();
    mostBytes_ = bytesPerSecond == 0
                     ? kUnlimitedBytes
                     : kQueueBytes + static_cast<std::uint64_t>(seconds * static_cast<double>(bytesPerSecond));
  }

  bool isFull() const { return ended_ || bytes_ >= mostBytes_; }
  /// Room here, but none on what all share.
  bool mustWait(Time now) const { return shared_ && !isFull() && !shared_->hasRoom(now); }
  bool isDone() const { return ended_ && parcels_.empty(); }
  std::optional<Time> due() const { return parcels_.empty() ? std::nullopt : std::optional(parcels_.front().due); }

  /// False when the connection broke.
  bool read(int from, Time now) {
    while (!isFull() && !mustWait(now)) {
      std::unique_ptr<Block> block = blocks_.take();
      const ssize_t got = ::read(from, block->data(), block->size());
      if (got <= 0) blocks_.giveBack(std::move(block));
      if (got < 0) return errno == EAGAIN || errno == EINTR;
      if (got == 0) {
        ended_ = true;
        parcels_.push_back({.due = std::max(now, free_) + latency_, .block = {}});
        return true;
      }
      const auto count = static_cast<std::size_t>(got);
      parcels_.push_back({.due = arrival(now, count), .block = std::move(block), .end = count});
      bytes_ += count;
      // Another read would most likely find nothing; and who shares lets others have their turn.
      if (count < kBlockBytes || shared_) return true;
    }
    return true;
  }

  enum class Written { all, blocked, broken };

  /// Everything that is due.
  Written write(int to, Time now) {
    while (!parcels_.empty() && parcels_.front().due <= now + kTogether) {
      Parcel& parcel = parcels_.front();
      if (!parcel.block) {
        ::shutdown(to, SHUT_WR);
        parcels_.pop_front();
        continue;
      }
      const ssize_t put =
          ::send(to, parcel.block->data() + parcel.first, parcel.end - parcel.first, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return errno == EAGAIN ? Written::blocked : Written::broken;
      parcel.first += static_cast<std::size_t>(put);
      bytes_ -= static_cast<std::uint64_t>(put);
      if (parcel.first < parcel.end) continue;
      blocks_.giveBack(std::move(parcel.block));
      parcels_.pop_front();
    }
    return Written::all;
  }

 private:
  /// Through what all share first: what waits there is not held up by a slow connection before it.
  Time arrival(Time now, std::size_t count) {
    free_ = std::max(shared_ ? shared_->pass(now, count) : now, free_);
    if (bytesPerSecond_ > 0) free_ += nanoseconds(count * 1'000'000'000 / bytesPerSecond_);
    return free_ + latency_;
  }

  Blocks& blocks_;
  nanoseconds latency_;
  std::uint64_t bytesPerSecond_;
  Bottleneck* shared_;
  std::uint64_t mostBytes_;
  std::uint64_t bytes_ = 0;
  Time free_{};  ///< When the last byte so far has left.
  bool ended_ = false;
  std::deque<Parcel> parcels_;
};

class Connection {
 public:
  Connection(int epoll, int client, int server, Blocks& blocks, const Settings& settings, Bottleneck* shared)
      : client_(epoll, client),
        server_(epoll, server),
        up_(blocks, settings.latency, 0),
        down_(blocks, settings.latency, settings.bytesPerSecond, shared) {
    move(std::chrono::steady_clock::now());
  }

  /// Reads and writes what can be. False when the connection is over.
  bool move(Time now) { return move(up_, client_, server_, now) && move(down_, server_, client_, now) && !isDone(); }

  /// When to move again, besides on the sockets' events.
  std::optional<Time> due() const {
    const std::optional<Time> up = blocked_ == &up_ ? std::nullopt : up_.due();
    const std::optional<Time> down = blocked_ == &down_ ? std::nullopt : down_.due();
    return up && down ? std::min(up, down) : up ? up : down;
  }

  /// Bytes may be there for which what all share has no room now.
  bool waits() const { return waits_; }

  std::optional<Time> listedDue;  ///< Its place in the list of what is due.
  bool inLine = false;            ///< Stands in Proxy::waiting_.

 private:
  bool move(Link& link, Socket& from, Socket& to, Time now) {
    const Link::Written written = link.write(to.descriptor(), now);
    if (written == Link::Written::broken || !link.read(from.descriptor(), now)) return false;
    const bool isBlocked = written == Link::Written::blocked;
    if (isBlocked) blocked_ = &link;
    if (!isBlocked && blocked_ == &link) blocked_ = nullptr;
    const bool mustWait = link.mustWait(now);
    if (&link == &down_) waits_ = mustWait;
    from.watch(EPOLLIN, !link.isFull() && !mustWait, this);
    to.watch(EPOLLOUT, isBlocked, this);
    return true;
  }

  bool isDone() const { return up_.isDone() && down_.isDone(); }

  Socket client_;
  Socket server_;
  Link up_;
  Link down_;
  const Link* blocked_ = nullptr;  ///< Waits for room, not for the time.
  bool waits_ = false;
};

class Proxy {
 public:
  explicit Proxy(const Settings& settings)
      : settings_(settings), epoll_(::epoll_create1(EPOLL_CLOEXEC)), shared_(settings.totalBytesPerSecond) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    if (epoll_ < 0 || listener_ < 0 || ::bind(listener_, asAddress(address), sizeof address) != 0 ||
        ::listen(listener_, 256) != 0) {
      throwSystem("listen");
    }
    epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event) != 0) throwSystem("epoll");
  }

  std::uint16_t port() const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    if (::getsockname(listener_, asAddress(address), &size) != 0) throwSystem("getsockname");
    return ntohs(address.sin_port);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    while (true) {
      const int count = waitFor(events);
      const Time now = std::chrono::steady_clock::now();
      std::set<Connection*> ready;
      for (int i = 0; i < count; ++i) {
        if (events[static_cast<std::size_t>(i)].data.ptr == nullptr)
          acceptAll();
        else
          ready.insert(static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr));
      }
      for (const auto& [due, connection] : due_) {
        if (due > now + kTogether) break;
        ready.insert(connection);
      }
      for (Connection* connection : ready) move(connection, now);
      // Each one block, in turn.
      while (!waiting_.empty() && shared_.roomAt() <= now) {
        Connection* connection = waiting_.front();
        waiting_.pop_front();
        connection->inLine = false;
        shared_.isTurn = true;
        move(connection, now);
        shared_.isTurn = false;
      }
      shared_.othersWait = !waiting_.empty();
    }
  }

 private:
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  static sockaddr* asAddress(sockaddr_in& address) { return reinterpret_cast<sockaddr*>(&address); }

  int waitFor(std::array<epoll_event, 256>& events) const {
    timespec timeout{};
    std::optional<Time> next = due_.empty() ? std::nullopt : std::optional(due_.begin()->first);
    if (!waiting_.empty()) next = next ? std::min(*next, shared_.roomAt()) : shared_.roomAt();
    if (next) {
      const nanoseconds left = std::max(nanoseconds(0), *next - std::chrono::steady_clock::now());
      timeout = {.tv_sec = left.count() / 1'000'000'000, .tv_nsec = left.count() % 1'000'000'000};
    }
    const int count =
        ::epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), next ? &timeout : nullptr, nullptr);
    if (count < 0 && errno != EINTR) throwSystem("epoll_wait");
    return std::max(count, 0);
  }

  void acceptAll() {
    while (true) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (client < 0) return;
      const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address = loopback(settings_.to);
      // A server must not be done with a request whose answer is still under way.
      ::setsockopt(server, SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof kSocketBytes);
      if (server < 0 || ::connect(server, asAddress(address), sizeof address) != 0) {
        ::close(client);
        if (server >= 0) ::close(server);
        continue;
      }
      const int on = 1;
      ::fcntl(server, F_SETFL, O_NONBLOCK);
      ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ::setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      auto connection = std::make_unique<Connection>(epoll_, client, server, blocks_, settings_,
                                                     shared_.isShared() ? &shared_ : nullptr);
      list(connection.get());
      connections_.insert(std::move(connection));
    }
  }

  void move(Connection* connection, Time now) {
    const bool goesOn = connection->move(now);
    if (goesOn) {
      list(connection);
      if (connection->waits() && !connection->inLine) waiting_.push_back(connection);
      connection->inLine = connection->inLine || connection->waits();
      return;
    }
    if (connection->inLine) std::erase(waiting_, connection);
    if (connection->listedDue) due_.erase({*connection->listedDue, connection});
    const auto found = std::find_if(connections_.begin(), connections_.end(),
                                    [&](const auto& candidate) { return candidate.get() == connection; });
    connections_.erase(found);
  }

  void list(Connection* connection) {
    const std::optional<Time> due = connection->due();
    if (due == connection->listedDue) return;
    if (connection->listedDue) due_.erase({*connection->listedDue, connection});
    if (due) due_.insert({*due, connection});
    connection->listedDue = due;
  }

  Settings settings_;
  int epoll_;
  int listener_ = -1;
  Blocks blocks_;
  Bottleneck shared_;
  std::deque<Connection*> waiting_;  ///< For room on what all share, first come first served.
  std::set<std::unique_ptr<Connection>> connections_;
  std::set<std::pair<Time, Connection*>> due_;
};

Settings parse(const std::vector<std::string>& words) {
  Settings settings;
  for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
    const double value = std::stod(words[i + 1]);
    if (words[i] == "--to") {
      settings.to = static_cast<std::uint16_t>(value);
    } else if (words[i] == "--latency") {
      settings.latency = nanoseconds(static_cast<std::int64_t>(value * 1e6));
    } else if (words[i] == "--rate") {
      settings.bytesPerSecond = static_cast<std::uint64_t>(value * 1e6);
    } else if (words[i] == "--total") {
      settings.totalBytesPerSecond = static_cast<std::uint64_t>(value * 1e6);
    } else {
      throw std::invalid_argument("unknown option " + words[i]);
    }
  }
  if (words.size() % 2 != 0 || settings.to == 0) throw std::invalid_argument("--to PORT is needed");
  return settings;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    Proxy proxy(parse({arguments + 1, arguments + count}));
    std::cout << proxy.port() << std::endl;
    proxy.run();
  } catch (const std::exception& error) {
    std::cerr << "caiexport-latency-proxy: " << error.what() << '\n';
    return 1;
  }
}
