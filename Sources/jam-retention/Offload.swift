import ArgumentParser
import RetentionRunner

struct Offload: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Move large blobs from their rows into the object store, the largest first.",
    discussion: "It can be stopped at any point and started again."
  )

  @OptionGroup var arguments: MoveArguments

  @Option(help: "Only blobs of more bytes than this; default: offload_threshold_bytes of the policy.")
  var minBytes: Int64?

  func run() throws {
    let session = try arguments.transfer.session(.changes)
    let database = try session.database()
    let minimum = try minBytes ?? database.offloadThreshold()
    let store = try session.blobStore()
    let progress = arguments.transfer.progress("offload")
    let options = arguments.options(minimumBytes: minimum)
    let summary = try Interruption.awaiting {
      defer { progress?.finish() }
      return try await store.offload(options, progress: progress)
    }
    try arguments.show(summary, session.format)
    if !arguments.dryRun, summary.moved.count > 0 {
      let space = try database.blobTableSpace()
      session.format.show(
        space.advice,
        json: [
          ("kind", .string("space")), ("table_bytes", .number("\(space.tableBytes)")),
          ("reclaimable_bytes", .number("\(space.reclaimableBytes)")),
        ]
      )
    }
  }
}
