import Crypto
import Foundation
import NIOCore

@testable import ObjectStore

func sha256(_ data: some DataProtocol) -> String {
  SHA256.hash(data: data).hexadecimal
}

/// The same bytes for the same seed. They repeat after a prime number, so that no part of an upload looks like another.
func bytes(_ count: Int, seed: UInt64 = 1) -> ByteBuffer {
  var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
  let block = (0..<min(count, 65_521)).map { _ in
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return UInt8(truncatingIfNeeded: state)
  }
  var buffer = ByteBufferAllocator().buffer(capacity: count)
  while buffer.readableBytes < count {
    buffer.writeBytes(block.prefix(count - buffer.readableBytes))
  }
  return buffer
}

extension ObjectStore {
  /// The whole object, or a part of it, in memory.
  func bytes(_ key: String, _ range: Range<Int64>? = nil) async throws -> ByteBuffer {
    try await get(key, range: range).body.collect(upTo: 256 << 20)
  }

  /// All keys below a prefix, over all pages.
  func keys(_ prefix: String) async throws -> [String] {
    var keys: [String] = []
    var next: String?
    repeat {
      let page = try await list(prefix: prefix, after: next)
      keys += page.objects.map(\.key)
      next = page.next
    } while next != nil
    return keys
  }

  func put(_ key: String, _ bytes: ByteBuffer) async throws {
    try await put(key, ObjectContent(bytes), contentType: "application/octet-stream")
  }
}

/// The error of a store that the work must end with.
func storeError(_ work: () async throws -> Void) async throws -> ObjectStoreError {
  do {
    try await work()
  } catch let error as ObjectStoreError {
    return error
  }
  throw Unexpected("no error was thrown")
}

struct Unexpected: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
