import ArgumentParser
import Foundation
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

  @Flag(help: "Do not tell how far the cleanup is.")
  var quiet = false

  func run() throws {
    let database = try options.database()
    let cleanup = { try database.cleanup(cutoff: cutoff, dryRun: dryRun ? true : nil) }
    let row = try quiet ? cleanup() : progress(of: database).during(cleanup)
    try options.show(row.columns, [row])
    let found = try row.columns.contains { try $0.hasPrefix("deleted_") && row.int($0) > 0 }
    if dryRun && exitCode && found { throw ExitCode.findings }
  }

  private func progress(of database: RetentionDatabase) -> CleanupProgress {
    let isTerminal = isatty(FileHandle.standardError.fileDescriptor) == 1
    let options = options
    return CleanupProgress(of: database, style: isTerminal ? .terminal : .lines) {
      try options.connectUnwatched()
    } write: { text in
      FileHandle.standardError.write(Data(text.utf8))
    }
  }
}
