import ArgumentParser
import RetentionRunner

struct Undo: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Bring back what a cleanup run has deleted; exit 3 when some rows cannot come back.",
    discussion: """
      Works for runs that had archive_days in the policy, until they are purged. Rows that cannot come back are named and \
      stay in the archive; undo again when the reason is gone. A cleanup that is running is stopped. Where the policy \
      would delete the rows again, it is set to dry_run.
      """
  )
  @OptionGroup var options: DatabaseOptions

  @Argument(help: ArgumentHelp("The run's id, as status shows it.", valueName: "run"))
  var runID: Int

  func run() throws {
    let session = try options.session(.changes)
    let undone = try session.database().undo(run: runID)
    let conflicts = undone.conflicts.rows.count
    switch session.format {
    case .text: if conflicts > 0 { print(TextTable(undone.conflicts)) }
    case .json:
      for row in undone.conflicts.rows {
        print(JSONValue.object([("kind", .string("conflict"))] + row.json).text)
      }
    }
    session.format.show(
      "\(undone.rows.counting("row is", plural: "rows are")) back, \(ByteCount.text(undone.bytes)) of blobs"
        + (conflicts > 0
          ? "; \(conflicts.counting("row stays", plural: "rows stay")) in the archive" : ""),
      json: [
        ("kind", .string("undo")), ("run_id", .number("\(runID)")), ("rows", .number("\(undone.rows)")),
        ("bytes", .number("\(undone.bytes)")), ("conflicts", .number("\(conflicts)")),
      ]
    )
    if conflicts > 0 { throw ExitCode.findings }
  }
}
