import Foundation

/// Why a request to a store failed: what was being done, where, what the store said, and what to do.
///
/// No secret is ever part of it.
public struct ObjectStoreError: Error, Sendable, CustomStringConvertible {
  /// What went wrong, for whoever reacts to it.
  public enum Kind: String, Sendable {
    /// There is no object with this key.
    case notFound
    /// There is no such bucket or directory.
    case noSuchBucket
    /// The range begins at the end of the object, or after it.
    case invalidRange
    /// The key cannot be one.
    case invalidKey
    /// The settings of the store make no sense.
    case invalidConfiguration
    /// There are no credentials, or the store does not know them.
    case invalidCredentials
    /// The store knows the credentials, and does not allow this.
    case accessDenied
    /// This machine's clock and the store's differ too much.
    case clockSkew
    /// The source's bytes do not have the size or hash that they should.
    case contentMismatch
    /// The source was right, and the store got something else.
    case damagedInTransit
    /// There are more bytes than the caller wants to have.
    case tooLarge
    /// The store was silent for too long.
    case timeout
    /// The store cannot be reached, or the connection broke.
    case connection
    /// The store asks to slow down, or has a failure of its own.
    case unavailable
    /// The answer is not one that an S3 store gives.
    case invalidResponse
    /// The store refused the request for another reason.
    case refused
    /// The local file system failed.
    case fileSystem
  }

  /// What went wrong.
  public let kind: Kind
  /// What was being done, on which key and where.
  public var operation: String
  /// What happened: the store's own message where there is one.
  public let message: String
  /// What to do about it, where that is known.
  public let remedy: String?
  /// The store's error code, `SlowDown` for example.
  public let code: String?
  /// The HTTP status, where there was an answer.
  public let status: Int?
  /// The store's name for the request, for its support or its log.
  public let requestID: String?
  /// How many attempts were made.
  public var attempts = 1
  /// Whether the store may have done what was asked all the same, or may still do it later.
  public var outcomeIsUnknown: Bool

  init(
    _ kind: Kind,
    doing operation: String,
    _ message: String,
    remedy: String? = nil,
    code: String? = nil,
    status: Int? = nil,
    requestID: String? = nil,
    outcomeIsUnknown: Bool = false
  ) {
    self.kind = kind
    self.operation = operation
    self.message = message
    self.remedy = remedy
    self.code = code
    self.status = status
    self.requestID = requestID
    self.outcomeIsUnknown = outcomeIsUnknown
  }

  /// One line.
  public var description: String {
    var text = "cannot \(operation): \(message)"
    let details = [
      status.map { "HTTP \($0)" }, code, requestID.map { "request \($0)" }, attempts > 1 ? "\(attempts) attempts" : nil,
    ].compactMap { $0 }
    if !details.isEmpty { text += " (\(details.joined(separator: ", ")))" }
    if let remedy { text += "; \(remedy)" }
    if outcomeIsUnknown { text += "; it may have been done all the same, or may be done later" }
    return text
  }
}
