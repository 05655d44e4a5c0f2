import Logging
import Postgres

extension Row {
  /// The columns in their order; numbers and truth values as such.
  public var json: [(name: String, value: JSONValue)] {
    columns.map { name in
      guard let text = self[name] else { return (name, .null) }
      switch type(of: name) {
      case .boolean: return (name, .boolean(text == "t"))
      // NaN and Infinity are no numbers in JSON.
      case .number where Double(text)?.isFinite == true: return (name, .number(text))
      default: return (name, .string(text))
      }
    }
  }

  /// The columns for a log; NULL is left out.
  var metadata: Logger.Metadata {
    var result: Logger.Metadata = [:]
    for name in columns {
      guard let text = self[name] else { continue }
      result[name] =
        switch type(of: name) {
        case .boolean: .stringConvertible(text == "t")
        case .number: Int(text).map { .stringConvertible($0) } ?? .string(text)
        case .text: .string(text)
        }
    }
    return result
  }
}
