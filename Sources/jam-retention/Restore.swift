import ArgumentParser
import RetentionRunner

struct Restore: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Move blobs from the object store back into their rows, the largest first.",
    discussion: "Their objects are queued for deletion: sweep. It can be stopped at any point and started again."
  )

  @OptionGroup var arguments: MoveArguments

  @Option(help: "Only blobs of more bytes than this.")
  var minBytes: Int64 = -1

  func run() throws {
    let session = try arguments.transfer.session(.changes)
    let store = try session.blobStore()
    let progress = arguments.transfer.progress("restore")
    let options = arguments.options(minimumBytes: minBytes)
    let summary = try Interruption.awaiting {
      defer { progress?.finish() }
      return try await store.restore(options, progress: progress)
    }
    try arguments.show(summary, session.format)
  }
}
