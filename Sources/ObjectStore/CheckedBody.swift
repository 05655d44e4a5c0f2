import Crypto
import NIOCore

/// The bytes of a content on their way to the store, checked against its size and hash.
///
/// The last piece is held back until the hash is known to be right. The store has been told how many bytes there are, so it
/// never takes a wrong content for complete, whether it looks at hashes or not. Where it has been told that there are none,
/// it waits for nothing, so that the hash is looked at first.
struct CheckedBody: Sendable {
  let content: ObjectContent
  let operation: String

  /// Opens the source.
  func open() async throws -> ByteStream {
    guard content.size > 0 || content.sha256 == SHA256.ofNothing else { throw mismatch("the source is empty") }
    let source = try await content.open(0..<content.size)
    return ByteStream(unfolding: {
      var reader = Reader(source: source.makeAsyncIterator(), check: self)
      return { try await reader.next() }
    })
  }

  private func mismatch(_ message: String) -> ObjectStoreError {
    ObjectStoreError(
      .contentMismatch,
      doing: operation,
      message,
      remedy: "the source is damaged or changed while it was read; nothing was stored"
    )
  }

  private struct Reader {
    var source: ByteStream.AsyncIterator
    let check: CheckedBody
    var hash = SHA256()
    var count: Int64 = 0
    var held: ByteBuffer?
    var isDone = false

    mutating func next() async throws -> ByteBuffer? {
      while !isDone {
        guard let piece = try await source.next() else {
          isDone = true
          try finish()
          break
        }
        guard piece.readableBytes > 0 else { continue }
        hash.update(piece)
        count += Int64(piece.readableBytes)
        guard count <= check.content.size else {
          throw check.mismatch("the source has more than the \(check.content.size) bytes it should have")
        }
        let ready = held
        held = piece
        if let ready { return ready }
      }
      defer { held = nil }
      return held
    }

    private func finish() throws {
      guard count == check.content.size else {
        throw check.mismatch("the source has \(count) bytes instead of \(check.content.size)")
      }
      let actual = hash.finalize().hexadecimal
      guard actual == check.content.sha256 else {
        throw check.mismatch("the SHA-256 of the source is \(actual) instead of \(check.content.sha256)")
      }
    }
  }
}
