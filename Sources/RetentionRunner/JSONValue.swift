import MigrationGenerator

/// JSON that keeps the order of its fields and the digits of its numbers, on one line.
public enum JSONValue: Sendable {
  case null
  case boolean(Bool)
  /// The digits as they stand.
  case number(String)
  case string(String)
  case array([JSONValue])
  case object([(name: String, value: JSONValue)])

  /// The text, without a line end.
  public var text: String {
    switch self {
    case .null: "null"
    case .boolean(let truth): truth ? "true" : "false"
    case .number(let digits): digits
    case .string(let text): text.quotedAsJSON
    case .array(let values): "[\(values.map(\.text).joined(separator: ","))]"
    case .object(let fields):
      "{\(fields.map { "\($0.name.quotedAsJSON):\($0.value.text)" }.joined(separator: ","))}"
    }
  }
}
