/// All mistakes of a configuration, a line each: key, source, what is wrong, what is allowed.
public struct ConfigurationErrors: Error, Equatable, Sendable, CustomStringConvertible {
  /// The mistakes.
  public let mistakes: [String]

  /// A line for each mistake.
  public var description: String { mistakes.joined(separator: "\n") }
}
