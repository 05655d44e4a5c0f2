/// What the server says beside its results.
public struct Notice: Sendable {
  /// The primary message.
  public let message: String
  /// The five characters of the SQLSTATE.
  public let sqlState: String?
  /// The detail; it may hold values of rows.
  public let detail: String?
}
