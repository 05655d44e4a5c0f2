import Foundation
import Testing

/// Takes connections on loopback, and never says a word.
final class SilentServer {
  private let listener: Int32
  let port: UInt16

  init() throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isListening = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 8) == 0 && getsockname(listener, $0, &length) == 0
      }
    }
    self.listener = listener
    port = UInt16(bigEndian: address.sin_port)
    try #require(isListening)
  }

  deinit {
    close(listener)
  }

  /// Whether somebody waits for an answer.
  var hasConnection: Bool {
    var state = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
    return poll(&state, 1, 0) == 1
  }
}
