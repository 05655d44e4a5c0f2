import ArgumentParser
import RetentionRunner

struct Cleanup: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Delete what has expired.")

  @OptionGroup var options: DatabaseOptions

  @Option(help: "Everything before this moment expires; default: the windows of the policy.")
  var cutoff: String?

  @Flag(help: "Only count.")
  var dryRun = false

  @Flag(help: "Exit 3 when a dry run finds something to delete.")
  var exitCode = false

  func run() throws {
    let session = try options.session(.changes)
    let row = try session.database().cleanup(cutoff: cutoff, dryRun: dryRun ? true : nil)
    session.format.show(row)
    let found = try row.columns.contains { try $0.hasPrefix("deleted_") && row.int($0) > 0 }
    if dryRun && exitCode && found { throw ExitCode.findings }
  }
}
