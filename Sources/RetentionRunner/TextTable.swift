import Postgres

/// Rows in aligned columns, for people; columns of numbers stand on the right.
public struct TextTable: CustomStringConvertible {
  private let rows: [[String]]
  private let isNumeric: [Bool]

  /// A table with a line of names above it.
  public init(_ result: QueryResult) {
    self.init(columns: result.columns, rows: result.rows)
  }

  /// The named columns of some rows, with a line of names above them.
  public init(columns: [String], rows: [Row]) {
    self.rows = [columns] + rows.map { row in columns.map { row.plain($0) } }
    isNumeric = columns.map { name in rows.first.map { $0.type(of: name) == .number } ?? false }
  }

  /// Cells that come from no query, with a line of names above them.
  init(columns: [(name: String, isNumeric: Bool)], rows: [[String]]) {
    self.rows = [columns.map(\.name)] + rows
    isNumeric = columns.map(\.isNumeric)
  }

  /// `name  value` lines.
  public init(pairs: [(name: String, value: String)]) {
    rows = pairs.map { [$0.name, $0.value] }
    isNumeric = [false, false]
  }

  /// The columns of some rows, a line each, those of one row below those of the other.
  public init(_ rows: [Row]) {
    self.init(pairs: rows.flatMap { row in row.columns.map { ($0, row.plain($0)) } })
  }

  /// The columns of rows that have the same ones, a line each and side by side, with names above them.
  init(names: [String], _ rows: Row...) {
    let columns = rows.first?.columns ?? []
    self.rows = [[""] + names] + columns.map { column in [column] + rows.map { $0.plain(column) } }
    isNumeric = [false] + names.map { _ in true }
  }

  /// All lines, each with its end.
  public var description: String {
    let widths = isNumeric.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = row.indices.map { column in
        let padding = String(repeating: " ", count: widths[column] - row[column].count)
        return isNumeric[column] ? padding + row[column] : row[column] + padding
      }
      return cells.joined(separator: "  ").trimmingSuffix { $0 == " " } + "\n"
    }.joined()
  }
}

extension Row {
  /// What people read, on one line: nothing for NULL, words for truth values.
  fileprivate func plain(_ name: String) -> String {
    let text = (self[name] ?? "").split(whereSeparator: \.isNewline).joined(separator: " ")
    guard type(of: name) == .boolean else { return text }
    return text == "t" ? "yes" : text == "f" ? "no" : text
  }
}

extension String {
  fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> String {
    String(prefix(count - reversed().prefix(while: predicate).count))
  }
}
