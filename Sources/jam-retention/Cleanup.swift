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

  @Flag(help: "Exit 3 when a dry run finds something to delete, in the archive too.")
  var exitCode = false

  @Flag(help: "Do not tell how far the cleanup is; so with JSON logs, too.")
  var quiet = false

  func run() throws {
    let session = try options.session(.changes)
    let database = try session.database()
    let cleanup = { try database.cleanup(cutoff: cutoff, dryRun: dryRun ? true : nil) }
    // A line of JSON is not told from a line of progress.
    let isQuiet = quiet || options.common.log.logFormat == .json
    let row = try isQuiet ? cleanup() : progress(of: database, session).during(cleanup)
    let run = try row.int("run_id")
    let figures = database.figures(ofRun: run)
    // The policy may have made it one.
    let isDryRun = try figures?.bool("dry_run") ?? dryRun
    let isRefused = try row.string("status") == "refused"
    if isDryRun {
      let meaning = isRefused ? "" : "; the figures are what a cleanup would delete"
      session.format.remark("dry run: nothing was deleted\(meaning)")
    }
    let archiveFigures = database.archiveFigures(ofRun: run)
    let purged = try archiveFigures?.int("purged_rows") ?? 0
    let usesArchive = try purged > 0 || (archiveFigures?.int("archived_rows") ?? 0) > 0
    session.format.show(row, figures, usesArchive || session.format == .json ? archiveFigures : nil)
    guard !isRefused else {
      let reason = database.refusal(ofRun: run) ?? "the role may not read why"
      throw RunnerError(
        "cleanup run \(run), a dry run, was refused as a real one would be: \(reason); see jam-retention doctor, or change "
          + "the policy"
      )
    }
    let found = try purged > 0 || row.columns.contains { try $0.hasPrefix("deleted_") && row.int($0) > 0 }
    if isDryRun && exitCode && found { throw ExitCode.findings }
  }

  private func progress(of database: RetentionDatabase, _ session: Session) -> CleanupProgress {
    let isTerminal = isatty(FileHandle.standardError.fileDescriptor) == 1
    return CleanupProgress(
      of: database,
      style: isTerminal ? .terminal : .lines,
      connect: session.connectUnwatched,
      write: StandardError.write
    )
  }
}
