/// One mistake in a model: where it is, what is wrong, and what is allowed.
public struct ModelError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The place inside the model, for example `references[2].column`.
  public let path: String
  /// What is wrong and what is allowed.
  public let message: String

  /// Creates an error.
  public init(_ path: String, _ message: String) {
    self.path = path
    self.message = message
  }

  /// `references[2].column: there is no column "hsh" …`
  public var description: String { "\(path): \(message)" }
}

/// All mistakes of a model, a line each.
public struct ModelErrors: Error, Equatable, Sendable, CustomStringConvertible {
  /// The mistakes, in the model's order.
  public let errors: [ModelError]

  /// Creates the list.
  public init(_ errors: [ModelError]) {
    self.errors = errors
  }

  /// A line for each mistake.
  public var description: String { errors.map(\.description).joined(separator: "\n") }
}
