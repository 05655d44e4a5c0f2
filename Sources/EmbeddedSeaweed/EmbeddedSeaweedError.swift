/// Why a throw-away object store could not be started, and what to do about it.
public struct EmbeddedSeaweedError: Error, CustomStringConvertible, Sendable {
  /// One line, followed by the end of the server's log where that says more.
  public let description: String

  init(_ description: String) {
    self.description = description
  }
}
