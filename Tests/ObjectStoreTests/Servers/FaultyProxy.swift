import Foundation
import Synchronization

/// A proxy in front of a real store that does what goes wrong between a client and a server. It takes one request with
/// each connection.
final class FaultyProxy: Sendable {
  struct Rule: Sendable {
    /// The beginning of the request's first line, such as `PUT /bucket/key`, or a part of its target.
    let match: String
    let fault: Fault
  }

  private struct State {
    var rules: [Rule] = []
    var requests: [String] = []
    var waiters: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
  }

  let port: UInt16
  var endpoint: String { "http://127.0.0.1:\(port)" }

  private let upstream: UInt16
  private let listener: Int32
  private let state = Mutex(State())

  init(upstream: UInt16) throws {
    self.upstream = upstream
    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = Self.address(0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let listener = listener
    let result = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 64) == 0 ? getsockname(listener, $0, &length) : -1
      }
    }
    guard result == 0 else { throw Unexpected("the proxy cannot listen: \(String(cString: strerror(errno)))") }
    port = UInt16(bigEndian: address.sin_port)
    Thread { [weak self] in
      // Only here, so that no connection of another listener is taken that has got the number.
      defer { close(listener) }
      while true {
        let client = accept(listener, nil, nil)
        if client < 0, errno == EINTR { continue }
        guard client >= 0 else { return }
        guard let self else {
          close(client)
          return
        }
        Thread { [self] in self.serve(client) }.start()
      }
    }.start()
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
  }

  /// The faults for the next requests that match; each is used once, in order.
  func plan(_ match: String, _ faults: Fault...) {
    state.withLock { $0.rules += faults.map { Rule(match: match, fault: $0) } }
  }

  /// The first lines of all requests until now.
  var requests: [String] { state.withLock(\.requests) }

  /// Returns when so many requests have come.
  func waitForRequests(_ count: Int) async {
    await withCheckedContinuation { continuation in
      let isThere = state.withLock { state in
        if state.requests.count >= count { return true }
        state.waiters.append((count, continuation))
        return false
      }
      if isThere { continuation.resume() }
    }
  }

  private func serve(_ client: Int32) {
    defer { close(client) }
    guard let (head, rest) = Self.readHead(client) else { return }
    let line = String(head.prefix { !$0.isNewline })
    let (fault, ready) = state.withLock { state in
      state.requests.append(line)
      let count = state.requests.count
      let ready = state.waiters.filter { $0.count <= count }
      state.waiters.removeAll { $0.count <= count }
      let index = state.rules.firstIndex { line.contains($0.match) }
      return (index.map { state.rules.remove(at: $0).fault }, ready.map(\.continuation))
    }
    ready.forEach { $0.resume() }
    let length =
      head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
      .flatMap { Int($0.split(separator: ":")[1].trimmingCharacters(in: .whitespaces)) } ?? 0

    switch fault {
    case .answer(let status, let headers, let body):
      Self.skip(length - rest.count, from: client)
      let lines = ["HTTP/1.1 \(status)", "Content-Length: \(body.utf8.count)", "Connection: close"] + headers
      Self.send(Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8), to: client)
    case .reset(let count):
      Self.skip(count - rest.count, from: client)
      Self.resetAtClose(client)
    case .stall:
      Self.waitForClose(client)
    case .damage, .resetAnswer, .truncate, .stallAnswer, .loseAnswer, nil:
      pass(client, head, rest, length, fault)
    }
  }

  private func pass(_ client: Int32, _ head: String, _ rest: [UInt8], _ length: Int, _ fault: Fault?) {
    let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(server) }
    var address = Self.address(upstream)
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else { return }
    let single = head.replacingOccurrences(of: "\r\nConnection: keep-alive", with: "", options: .caseInsensitive)
    let closing = single.replacing("\r\n\r\n", with: "\r\nConnection: close\r\n\r\n")
    Self.send(Array(closing.utf8) + rest, to: server)
    var missing = length - rest.count
    while missing > 0, var piece = Self.receive(client, min(missing, 65_536)) {
      missing -= piece.count
      if case .damage = fault, missing == 0 { piece[piece.count - 1] ^= 1 }
      Self.send(piece, to: server)
    }
    var budget: Int
    switch fault {
    case .resetAnswer(let count), .truncate(let count), .stallAnswer(let count): budget = count
    case .loseAnswer: budget = 0
    default: budget = .max
    }
    while let piece = Self.receive(server, 65_536) {
      if budget == 0 { continue }
      Self.send(Array(piece.prefix(budget)), to: client)
      if budget != .max { budget = max(0, budget - piece.count) }
      if budget == 0, case .truncate = fault { return }
      if budget == 0, case .resetAnswer = fault { return Self.resetAtClose(client) }
      if budget == 0, case .stallAnswer = fault { return Self.waitForClose(client) }
    }
    if case .loseAnswer = fault { Self.resetAtClose(client) }
  }

  /// `POLLRDHUP`, which Swift does not import (`poll(2)`).
  private static let peerHasClosed: Int16 = 0x2000

  private static func address(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    address.sin_port = port.bigEndian
    return address
  }

  private static func readHead(_ descriptor: Int32) -> (head: String, rest: [UInt8])? {
    var bytes: [UInt8] = []
    let end = Array("\r\n\r\n".utf8)
    while let piece = receive(descriptor, 65_536) {
      bytes += piece
      for index in bytes.indices.dropLast(3) where bytes[index..<(index + 4)].elementsEqual(end) {
        return (String(decoding: bytes[..<(index + 4)], as: UTF8.self), Array(bytes[(index + 4)...]))
      }
    }
    return nil
  }

  private static func receive(_ descriptor: Int32, _ most: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: most)
    while true {
      let count = recv(descriptor, &bytes, most, 0)
      if count < 0, errno == EINTR { continue }
      return count > 0 ? Array(bytes.prefix(count)) : nil
    }
  }

  private static func send(_ bytes: [UInt8], to descriptor: Int32) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 || errno == EINTR else { return }
      rest = rest.dropFirst(max(0, count))
    }
  }

  private static func skip(_ count: Int, from descriptor: Int32) {
    var missing = count
    while missing > 0, let piece = receive(descriptor, min(missing, 65_536)) { missing -= piece.count }
  }

  /// The peer gets a reset instead of an end.
  private static func resetAtClose(_ descriptor: Int32) {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
  }

  /// Reads nothing until the peer has gone.
  private static func waitForClose(_ descriptor: Int32) {
    var event = pollfd(fd: descriptor, events: peerHasClosed, revents: 0)
    while poll(&event, 1, -1) < 0, errno == EINTR {}
  }
}
