/// What went wrong while talking to PostgreSQL, with the server's own fields kept apart.
///
/// It speaks with two voices: ``description`` is one line for logs, ``debugDescription`` holds everything.
public struct PostgresError: Error, Equatable, Sendable {
  /// Who could not do their part.
  public enum Kind: String, Sendable {
    /// The connection could not be made, or was lost.
    case connection
    /// The server refused a statement.
    case server
    /// The program asked for something that makes no sense, such as a column that is not there.
    case usage
  }

  /// Who could not do their part.
  public var kind: Kind
  /// The primary message.
  public var message: String
  /// The five characters of the SQLSTATE. A connection that was never made has none: libpq does not tell it.
  public var sqlState: String?
  /// The server's detail; it may hold values of rows.
  public var detail: String?
  /// The server's advice.
  public var hint: String?
  /// The character of the statement at which the error is, counted from 1.
  public var position: Int?
  /// The stack of functions and statements in which it happened.
  public var context: String?
  /// `ERROR`, `FATAL` or `PANIC`, never translated.
  public var severity: String?

  /// Creates an error from its fields.
  public init(
    kind: Kind,
    message: String,
    sqlState: String? = nil,
    detail: String? = nil,
    hint: String? = nil,
    position: Int? = nil,
    context: String? = nil,
    severity: String? = nil
  ) {
    self.kind = kind
    self.message = message
    self.sqlState = sqlState
    self.detail = detail
    self.hint = hint
    self.position = position
    self.context = context
    self.severity = severity
  }

  static func usage(_ message: String, hint: String? = nil) -> PostgresError {
    PostgresError(kind: .usage, message: message, hint: hint)
  }
}

extension PostgresError: CustomStringConvertible {
  /// One line for logs: message, SQLSTATE and hint. The detail is left out because it may hold data.
  public var description: String {
    var line = message
    if let sqlState { line += " (SQLSTATE \(sqlState))" }
    if let hint { line += "; hint: \(hint)" }
    return line.split(whereSeparator: \.isWhitespace).joined(separator: " ")
  }
}

extension PostgresError: CustomDebugStringConvertible {
  /// Every field on a line of its own.
  public var debugDescription: String {
    var lines = ["\(kind.rawValue) error: \(message)"]
    let fields = [
      ("severity", severity), ("SQLSTATE", sqlState), ("detail", detail), ("hint", hint),
      ("position", position.map(String.init)), ("context", context),
    ]
    for (name, value) in fields {
      if let value { lines.append("\(name): \(value)") }
    }
    return lines.joined(separator: "\n")
  }
}
