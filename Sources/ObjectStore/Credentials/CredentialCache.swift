import Foundation
import Synchronization

/// The credentials in use, read again when they have expired or the store refuses them.
final class CredentialCache: Sendable {
  /// Before they expire on the way to the store.
  private static let margin: TimeInterval = 60

  private let source: S3CredentialSource
  private let current = Mutex<S3Credentials?>(nil)

  init(_ source: S3CredentialSource) {
    self.source = source
  }

  func credentials(at now: Date) throws -> S3Credentials {
    try current.withLock { current in
      if let known = current, known.expiration.map({ $0 > now + Self.margin }) ?? true { return known }
      let read = try source.read()
      current = read
      return read
    }
  }

  /// Whether there are others than those that the store has refused.
  func replace(_ refused: S3Credentials) throws -> Bool {
    try current.withLock { current in
      if current != refused { return true }
      let read = try source.read()
      current = read
      return read != refused
    }
  }
}
