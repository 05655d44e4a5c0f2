/// All mistakes of a configuration, a line each: key, source, what is wrong, what is allowed.
public struct ConfigurationErrors: Error, Equatable, Sendable, CustomStringConvertible {
  /// The mistakes.
  public let mistakes: [String]
  /// Whether one of them is in a flag, so that the command itself is wrong.
  public let concernsFlag: Bool

  init(mistakes: [String], concernsFlag: Bool = false) {
    self.mistakes = mistakes
    self.concernsFlag = concernsFlag
  }

  /// A line for each mistake.
  public var description: String { mistakes.joined(separator: "\n") }
}
