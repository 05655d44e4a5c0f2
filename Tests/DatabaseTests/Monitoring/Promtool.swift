import EmbeddedPostgres
import Foundation
import TestSupport
import Testing

/// Prometheus' own checker.
enum Promtool {
  static func isInstalled() throws -> Bool { try DebianProgram.locate("promtool") != nil }

  static func run(_ arguments: String...) throws -> (status: Int32, output: String, error: String) {
    try ChildProcess.run([try #require(try DebianProgram.locate("promtool"))] + arguments)
  }

  /// What it has against metrics in text form, a line each.
  static func findings(inMetrics text: String) throws -> [String] {
    let program = try #require(try DebianProgram.locate("promtool"))
    let result = try withFile(text) { try ChildProcess.run(["sh", "-c", #""$0" check metrics < "$1""#, program, $0]) }
    return (result.output + result.error).split(separator: "\n").map(String.init)
  }

  /// Whether it takes the rules, and what it says.
  static func check(rules text: String) throws -> (status: Int32, output: String, error: String) {
    try withFile(text) { try run("check", "rules", $0) }
  }

  private static func withFile<Result>(_ text: String, _ body: (String) throws -> Result) throws -> Result {
    let folder = try TemporaryFolder()
    return try body(folder.write("promtool", text))
  }
}
