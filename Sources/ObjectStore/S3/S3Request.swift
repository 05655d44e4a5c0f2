import Crypto
import NIOCore
import NIOHTTP1

/// A request as the client thinks of it; every attempt signs it anew.
struct S3Request: Sendable {
  enum Body: Sendable {
    case empty
    case bytes(ByteBuffer, sha256: String)
    case content(ObjectContent)
  }

  var method: HTTPMethod
  /// Nil: the request is for the bucket.
  var key: String?
  var query: [(name: String, value: String)] = []
  var headers: [(name: String, value: String)] = []
  var body = Body.empty
  /// Whether it may be sent again when nobody knows what became of an attempt, which may be carried out later.
  var mayArriveTwice = true
  /// As errors show it.
  let operation: String

  /// Whether an attempt that was not answered may have changed something.
  var mayChangeAnything: Bool { method != .GET && method != .HEAD }

  var payloadHash: String {
    switch body {
    case .empty: SHA256.ofNothing
    case .bytes(_, let hash): hash
    case .content(let content): content.sha256
    }
  }
}
