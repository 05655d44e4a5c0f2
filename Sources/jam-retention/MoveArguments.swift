import ArgumentParser
import RetentionRunner

/// What offload and restore understand.
struct MoveArguments: ParsableArguments {
  @OptionGroup var transfer: TransferOptions

  @Option(help: "How many blobs are under way at once, each with a connection of its own.")
  var concurrency = 8

  @Option(help: "Bytes a second over all of them; default: as fast as it goes.")
  var maxRate: Int64?

  @Option(help: "At most so many blobs.")
  var limit: Int?

  @Flag(help: "Only count.")
  var dryRun = false

  func validate() throws {
    guard (1...64).contains(concurrency) else { throw ValidationError("--concurrency must be 1 to 64") }
    guard maxRate.map({ $0 > 0 }) ?? true else { throw ValidationError("--max-rate must be more than 0") }
    guard limit.map({ $0 > 0 }) ?? true else { throw ValidationError("--limit must be more than 0") }
  }

  func options(minimumBytes: Int64) -> MoveOptions {
    var options = MoveOptions()
    options.concurrency = concurrency
    options.maximumRate = maxRate
    options.limit = limit
    options.isDryRun = dryRun
    options.minimumBytes = minimumBytes
    return options
  }

  /// Prints what was moved, and ends the command with 1 when a blob could not be.
  func show(_ summary: MoveSummary, _ format: OutputFormat) throws {
    let skipped = summary.skipped.sorted { $0.key < $1.key }
    var text = dryRun ? "would move " : "moved "
    text += "\(summary.moved.count.counting("blob")), \(ByteCount.text(summary.moved.bytes))"
    text += skipped.map { ", \($0.value) left alone (\($0.key))" }.joined()
    if summary.failed > 0 { text += ", \(summary.failed) failed: see the log" }
    format.show(
      text,
      json: [
        ("moved", .number("\(summary.moved.count)")), ("bytes", .number("\(summary.moved.bytes)")),
        ("dry_run", .boolean(dryRun)), ("failed", .number("\(summary.failed)")),
        ("skipped", .object(skipped.map { ($0.key, .number("\($0.value)")) })),
      ]
    )
    if summary.failed > 0 { throw ExitCode.failure }
  }
}
