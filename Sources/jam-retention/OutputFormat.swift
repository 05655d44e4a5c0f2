import ArgumentParser
import Postgres
import RetentionRunner

/// How results are printed: for people, or one JSON object a line for programs.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
  case text, json

  /// Prints rows as an aligned table.
  func show(_ result: QueryResult) {
    switch self {
    case .text: print(TextTable(result), terminator: "")
    case .json: for row in result.rows { print(JSONValue.object(row.json).text) }
    }
  }

  /// Prints one row, a line for each column.
  ///
  /// - Parameter more: further columns.
  func show(_ row: Row, _ more: Row?...) {
    let rows = [row] + more.compactMap(\.self)
    switch self {
    case .text: print(TextTable(rows), terminator: "")
    case .json: print(JSONValue.object(rows.flatMap(\.json)).text)
    }
  }

  /// Prints a line for people, or an object.
  func show(_ text: String, json fields: [(name: String, value: JSONValue)]) {
    switch self {
    case .text: print(text)
    case .json: print(JSONValue.object(fields).text)
    }
  }

  /// Prints what only people need.
  func remark(_ text: String) {
    if self == .text { print(text) }
  }

  /// Prints what a change of the policy makes of the next cleanup.
  func show(_ effect: PolicyEffect) {
    switch self {
    case .text:
      print(
        effect.lines.isEmpty
          ? "a cleanup would delete nothing, neither now nor with this change"
          : "what a cleanup would delete, now and with this change:\n\n\(effect.table)"
      )
      if let obstacle = effect.obstacleBefore { print("now it \(obstacle)") }
      if let obstacle = effect.obstacleAfter { print("with this change it \(obstacle)") }
    case .json:
      for line in effect.lines {
        let fields: [(name: String, value: JSONValue)] = [
          ("kind", .string("effect")), ("data_class", .string(line.name)),
          ("rows", .number("\(line.rowsBefore)")), ("bytes", .number("\(line.bytesBefore)")),
          ("rows_after", .number("\(line.rowsAfter)")), ("bytes_after", .number("\(line.bytesAfter)")),
        ]
        print(JSONValue.object(fields).text)
      }
      guard effect.obstacleBefore != nil || effect.obstacleAfter != nil else { return }
      let fields: [(name: String, value: JSONValue)] = [
        ("kind", .string("obstacle")), ("obstacle", effect.obstacleBefore.map { .string($0) } ?? .null),
        ("obstacle_after", effect.obstacleAfter.map { .string($0) } ?? .null),
      ]
      print(JSONValue.object(fields).text)
    }
  }

  /// Prints a change of the policy.
  func show(_ change: PolicyChange) {
    let old = change.old.map { "\($0) → " } ?? ""
    let origin = change.origin.map { " (\($0))" } ?? ""
    show(
      "policy \(change.column): \(old)\(change.new ?? "NULL")\(origin)",
      json: [
        ("kind", .string("policy")), ("column", .string(change.column)),
        ("old", change.old.map { .string($0) } ?? .null), ("new", change.new.map { .string($0) } ?? .null),
        ("source", change.origin.map { .string("\($0)") } ?? .null),
      ]
    )
  }
}
