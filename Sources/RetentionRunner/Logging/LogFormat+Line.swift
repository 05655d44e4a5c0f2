import Logging
import SafeSQL

extension LogFormat {
  /// The line of one event, without its end.
  func line(timestamp: String, level: Logger.Level, event: String, metadata: Logger.Metadata) -> String {
    let pairs = metadata.sorted { $0.key < $1.key }
    switch self {
    case .text:
      return ([timestamp, level.rawValue, event] + pairs.map { "\($0.key)=\(Self.plain($0.value))" })
        .joined(separator: " ").replacingScalars("\n", with: "\\n")
    case .json:
      let fields: [(String, JSONValue)] = [
        ("timestamp", .string(timestamp)), ("level", .string(level.rawValue)), ("event", .string(event)),
      ]
      return JSONValue.object(fields + pairs.map { ($0.key, Self.json($0.value)) }).text
    }
  }

  private static func plain(_ value: Logger.MetadataValue) -> String {
    let text = "\(value)"
    let isPlain = !text.isEmpty && !text.contains { $0.isWhitespace || $0 == "\"" || $0 == "=" }
    return isPlain ? text : JSONValue.string(text).text
  }

  private static func json(_ value: Logger.MetadataValue) -> JSONValue {
    switch value {
    case .string(let text): .string(text)
    case .stringConvertible(let number as any BinaryInteger): .number("\(number)")
    case .stringConvertible(let truth as Bool): .boolean(truth)
    case .stringConvertible(let other): .string("\(other)")
    case .array(let values): .array(values.map(json))
    case .dictionary(let values): .object(values.sorted { $0.key < $1.key }.map { ($0.key, json($0.value)) })
    }
  }
}
