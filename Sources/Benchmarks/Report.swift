import Foundation
import RetentionRunner

/// All results of a run, as the files that it leaves.
struct Report {
  var surroundings: [String]
  var lines: [Line] = []

  func write(to folder: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try AtomicFile.write(markdown, to: "\(folder)/results.md")
    try AtomicFile.write(json.text + "\n", to: "\(folder)/results.json")
    try AtomicFile.write(Chart(lines: lines).svg, to: "\(folder)/results.svg")
  }

  /// The table of the README.
  var markdown: String {
    let rows = lines.map { line -> [String] in
      [
        line.what, line.variant.rawValue, "\(Self.text(line.values.median)) \(line.unit.rawValue)",
        line.ratios.map { "\(Self.text($0.median)) (\(Self.text($0.minimum))–\(Self.text($0.maximum)))" } ?? "",
        line.ratios == nil ? "" : line.reference ?? "", Self.text(line.target), Self.text(line.isReached), line.note,
      ]
    }
    let names = ["", "variant", "median", "ratio (spread)", "to", "target", "reached", "also"]
    return
      (surroundings.map { "\($0)  " } + [""]
      + ([names, names.map { _ in "---" }] + rows).map { "| \($0.joined(separator: " | ")) |" })
      .joined(separator: "\n") + "\n"
  }

  private var json: JSONValue {
    .object([
      ("surroundings", .array(surroundings.map { .string($0) })),
      (
        "results",
        .array(
          lines.map { line in
            .object([
              ("measurement", .string(line.measurement)), ("what", .string(line.what)),
              ("variant", .string(line.variant.rawValue)), ("unit", .string(line.unit.rawValue)),
              ("values", Self.array(line.values)), ("ratios", line.ratios.map(Self.array) ?? .null),
              ("reference", line.reference.map { .string($0) } ?? .null),
              ("target", line.target.map { .string(Self.text($0)) } ?? .null),
              ("reached", line.isReached.map { .boolean($0) } ?? .null), ("also", .string(line.note)),
            ])
          }
        )
      ),
    ])
  }

  private static func array(_ spread: Spread) -> JSONValue {
    .array(spread.values.map { $0.isFinite ? .number("\($0)") : .null })
  }

  static func text(_ target: Target?) -> String {
    switch target {
    case nil: ""
    case .atLeast(let limit): "≥ \(text(limit))"
    case .atMost(let limit): "≤ \(text(limit))"
    }
  }

  private static func text(_ isReached: Bool?) -> String { isReached.map { $0 ? "yes" : "**no**" } ?? "" }

  /// Three digits that count, two of small values.
  static func text(_ value: Double) -> String {
    switch abs(value) {
    case 100...: String(format: "%.0f", value)
    case 10..<100: String(format: "%.1f", value)
    case 0.1..<10: String(format: "%.2f", value)
    default: String(format: "%.2g", value)
    }
  }
}
