import ArgumentParser
import RetentionRunner

struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Check every count against the references that rows hold.")
  @OptionGroup var options: DatabaseOptions

  func run() throws {
    let drift = try options.database().verify()
    try options.show(drift.columns, drift.rows)
    if !drift.rows.isEmpty { throw ExitCode.findings }
  }
}
