/// Why a throw-away server could not be started or used, and what to do about it.
public struct EmbeddedPostgresError: Error, CustomStringConvertible, Sendable {
  /// One line, followed by the end of the server's log where that says more.
  public let description: String

  init(_ description: String) {
    self.description = description
  }
}
