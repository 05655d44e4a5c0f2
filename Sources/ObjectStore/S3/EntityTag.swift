import Crypto
import NIOCore
import Synchronization

/// The tag that S3 gives to an object of one request: the MD5 of its bytes, unless the store encrypts them with a key of
/// its own. The same tag proves that the store has what was sent, without another request.
///
/// Source: Amazon S3 API Reference, data type Object, ETag.
final class EntityTag: Sendable {
  private let digest = Mutex(Insecure.MD5())

  /// The same content; the tag is that of the bytes that were read from it last.
  func computed(from content: ObjectContent) -> ObjectContent {
    ObjectContent(size: content.size, sha256: content.sha256) { range in
      self.digest.withLock { $0 = Insecure.MD5() }
      let pieces = try await content.open(range)
      return ByteStream(
        pieces.map { piece in
          self.digest.withLock { $0.update(piece) }
          return piece
        }
      )
    }
  }

  /// Whether it is the one in a header.
  func matches(_ header: String?) -> Bool {
    header == "\"\(digest.withLock { $0.finalize() }.hexadecimal)\""
  }
}
