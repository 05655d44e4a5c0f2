import ArgumentParser
import RetentionRunner

struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Check every count against the references that rows hold.")
  @OptionGroup var options: DatabaseOptions

  func run() throws {
    let session = try options.session()
    let drift = try session.database().verify()
    guard drift.rows.isEmpty else {
      session.format.show(drift)
      throw ExitCode.findings
    }
    session.format.remark("every count equals the references that rows hold")
  }
}
