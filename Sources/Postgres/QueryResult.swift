import CLibPQ

/// What a statement gave back.
public struct QueryResult: Sendable {
  /// The names of the columns, in order.
  public let columns: [String]
  /// The rows.
  public let rows: [Row]
  /// How many rows the statement returned or changed.
  public let rowsAffected: Int
  /// The server's own summary, such as `DELETE 3`.
  public let commandTag: String

  /// The first row, if there is one.
  public var first: Row? { rows.first }

  init(_ result: OpaquePointer) {
    let width = PQnfields(result)
    let columns = (0..<width).map { PQfname(result, $0).map { String(cString: $0) } ?? "" }
    // Of two columns with one name, the first counts.
    let positions = Dictionary(columns.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
    let types = (0..<width).map { ColumnType(oid: PQftype(result, $0)) }
    self.columns = columns
    rows = (0..<PQntuples(result)).map { row in
      Row(
        positions: positions,
        types: types,
        values: (0..<width).map { column in
          guard PQgetisnull(result, row, column) == 0, let value = PQgetvalue(result, row, column) else { return nil }
          let bytes = UnsafeRawBufferPointer(start: value, count: Int(PQgetlength(result, row, column)))
          return String(decoding: bytes, as: UTF8.self)
        }
      )
    }
    rowsAffected = PQcmdTuples(result).flatMap { Int(String(cString: $0)) } ?? 0
    commandTag = PQcmdStatus(result).map { String(cString: $0) } ?? ""
  }
}
