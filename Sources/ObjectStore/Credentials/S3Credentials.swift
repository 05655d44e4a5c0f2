import Foundation
import Secrets

/// What requests are signed with. Its secrets appear in no description.
public struct S3Credentials: Sendable, Equatable {
  /// The name of the key; not secret, and sent with every request.
  public let accessKeyID: String
  let secretAccessKey: Secret
  let sessionToken: Secret?
  /// When they become invalid, where that is known.
  public let expiration: Date?

  /// Credentials that are known already.
  public init(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil, expiration: Date? = nil) {
    self.accessKeyID = accessKeyID
    self.secretAccessKey = Secret(secretAccessKey)
    self.sessionToken = sessionToken.map { Secret($0) }
    self.expiration = expiration
  }
}
