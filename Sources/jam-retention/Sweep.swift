import ArgumentParser
import RetentionRunner

struct Sweep: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Delete the objects that nothing needs any more, and what dead uploads have left."
  )

  @OptionGroup var transfer: TransferOptions

  @Option(help: "At most so many objects.")
  var limit: Int?

  @Flag(help: "Only count.")
  var dryRun = false

  func validate() throws {
    guard limit.map({ $0 > 0 }) ?? true else { throw ValidationError("--limit must be more than 0") }
  }

  func run() throws {
    let session = try transfer.session(.changes)
    let store = try session.blobStore()
    let progress = transfer.progress("sweep")
    let (limit, dryRun) = (limit, dryRun)
    let sweep = try Interruption.awaiting {
      defer { progress?.finish() }
      return try await store.sweep(limit: limit, isDryRun: dryRun, progress: progress)
    }
    var text = dryRun ? "would delete " : "deleted "
    text += "\(sweep.deleted.count.counting("object")), \(ByteCount.text(sweep.deleted.bytes))"
    if sweep.unfinishedUploads > 0 { text += "; \(sweep.unfinishedUploads.counting("unfinished upload")) removed" }
    if sweep.waiting > 0 { text += "; \(sweep.waiting) left for a later attempt" }
    if let error = sweep.lastError { text += "; \(sweep.failed) failed, at last: \(error)" }
    session.format.show(
      text,
      json: [
        ("deleted", .number("\(sweep.deleted.count)")), ("bytes", .number("\(sweep.deleted.bytes)")),
        ("dry_run", .boolean(dryRun)), ("failed", .number("\(sweep.failed)")), ("waiting", .number("\(sweep.waiting)")),
        ("unfinished_uploads", .number("\(sweep.unfinishedUploads)")),
        ("error", sweep.lastError.map { .string($0) } ?? .null),
      ]
    )
    if sweep.failed > 0 { throw ExitCode.failure }
  }
}
