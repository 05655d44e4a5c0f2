/// Something that the person at the keyboard can act on: one line that says what is wrong and what to do.
public struct RunnerError: Error, CustomStringConvertible, Sendable {
  /// The whole message.
  public let description: String
  /// Whether the command was called in a wrong way.
  public let isUsage: Bool

  /// Creates an error from its message.
  public init(_ description: String, isUsage: Bool = false) {
    self.description = description
    self.isUsage = isUsage
  }
}
