import CLibPQ

/// One row of a result; the values are kept as PostgreSQL's text and read as what the caller expects.
public struct Row: Sendable {
  let positions: [String: Int]
  let types: [ColumnType]
  let values: [String?]

  /// The names of the columns, in the result's order.
  public var columns: [String] { positions.sorted { $0.value < $1.value }.map(\.key) }

  /// The text of a column; `nil` for NULL and for a column that is not there. The methods tell those apart.
  public subscript(name: String) -> String? {
    positions[name].flatMap { values[$0] }
  }

  /// What a column holds; text for a column that is not there.
  public func type(of name: String) -> ColumnType { positions[name].map { types[$0] } ?? .text }

  /// The text of a column that is not NULL.
  public func string(_ name: String) throws -> String { try required(name, optionalString(name)) }

  /// The number in a column that is not NULL.
  public func int(_ name: String) throws -> Int { try required(name, optionalInt(name)) }

  /// The truth value in a column that is not NULL.
  public func bool(_ name: String) throws -> Bool { try required(name, optionalBool(name)) }

  /// The number in a column that is not NULL.
  public func double(_ name: String) throws -> Double { try required(name, optionalDouble(name)) }

  /// The bytes of a `bytea` that is not NULL.
  public func bytes(_ name: String) throws -> [UInt8] { try required(name, optionalBytes(name)) }

  /// The text of a column, or `nil` for NULL.
  public func optionalString(_ name: String) throws -> String? { try read(name, as: "text") { $0 } }

  /// The number in a column, or `nil` for NULL.
  public func optionalInt(_ name: String) throws -> Int? { try read(name, as: "an integer") { Int($0) } }

  /// The truth value in a column, or `nil` for NULL.
  public func optionalBool(_ name: String) throws -> Bool? {
    try read(name, as: "a boolean") { ["t": true, "f": false][$0] }
  }

  /// The number in a column, or `nil` for NULL.
  public func optionalDouble(_ name: String) throws -> Double? { try read(name, as: "a number") { Double($0) } }

  /// The bytes of a `bytea`, or `nil` for NULL; whatever the server's `bytea_output` is.
  public func optionalBytes(_ name: String) throws -> [UInt8]? {
    try read(name, as: "bytea") { text in
      var count = 0
      guard let bytes = PQunescapeBytea(text, &count) else { return nil }
      defer { PQfreemem(bytes) }
      return Array(UnsafeBufferPointer(start: bytes, count: count))
    }
  }

  private func read<Value>(_ name: String, as type: String, _ convert: (String) -> Value?) throws -> Value? {
    guard let position = positions[name] else {
      let known = positions.keys.sorted().joined(separator: ", ")
      throw PostgresError.usage("the result has no column \"\(name)\"", hint: "its columns are: \(known)")
    }
    guard let text = values[position] else { return nil }
    // The value itself stays out of the error: it may be anything a table holds.
    guard let value = convert(text) else { throw PostgresError.usage("column \"\(name)\" is not \(type)") }
    return value
  }

  private func required<Value>(_ name: String, _ value: Value?) throws -> Value {
    guard let value else { throw PostgresError.usage("column \"\(name)\" is NULL, which was not expected") }
    return value
  }
}
