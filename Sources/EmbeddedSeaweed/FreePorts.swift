import Foundation

/// TCP ports of 127.0.0.1 that nobody uses.
package enum FreePorts {
  /// All are taken at once, so that they differ, and given back. Another process may take one before it is used.
  package static func find(_ count: Int) throws -> [UInt16] {
    var sockets: [Int32] = []
    defer { sockets.forEach { close($0) } }
    return try (0..<count).map { _ in
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      sockets.append(descriptor)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_addr.s_addr = inet_addr("127.0.0.1")
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      let result = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
        }
      }
      guard result == 0 else {
        throw EmbeddedSeaweedError("no port of 127.0.0.1 can be had: \(String(cString: strerror(errno)))")
      }
      return UInt16(bigEndian: address.sin_port)
    }
  }
}
