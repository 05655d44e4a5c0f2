import ArgumentParser
import RetentionRunner

struct Fsck: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare the object store with the database; exit 3 when they differ.",
    discussion: """
      missing, wrong size, damaged, unreadable: a blob's content is in danger. orphaned: an object that nothing knows; --repair queues \
      it for deletion. foreign: a name that the retention does not give; it is never touched.
      """
  )

  @OptionGroup var transfer: TransferOptions

  @Flag(help: "Read and hash every object.")
  var deep = false

  @Flag(help: "Queue orphans for deletion.")
  var repair = false

  @Option(help: "Hours for which an unknown object may be one that somebody is writing.")
  var grace = 24.0

  func validate() throws {
    guard grace >= 0, grace.isFinite else { throw ValidationError("--grace must be 0 or more") }
  }

  func run() throws {
    let session = try transfer.session(repair ? .changes : .reads)
    let store = try session.blobStore()
    let progress = transfer.progress("fsck")
    var options = BlobStore.FsckOptions()
    options.isDeep = deep
    options.repairs = repair
    options.graceSeconds = grace * 3600
    let (chosen, format) = (options, session.format)
    let (result, findings) = try Interruption.awaiting {
      defer { progress?.finish() }
      var findings = 0
      let result = try await store.fsck(chosen, progress: progress) { finding in
        findings += finding.kind == .foreign ? 0 : 1
        // The two share a terminal.
        progress?.finish()
        format.show(
          "\(finding.kind.rawValue): \(finding.shownKey), \(finding.size) bytes",
          json: [
            ("kind", .string(finding.kind.rawValue)), ("key", .string(finding.key)),
            ("size", .number("\(finding.size)")),
          ]
        )
      }
      return (result, findings)
    }
    let queued = repair ? "; \(result.queued) queued for deletion" : ""
    format.show(
      "\(result.objects.count.counting("object")), \(ByteCount.text(result.objects.bytes)); \(result.blobs.counting("blob")); "
        + "\(findings.counting("finding"))\(queued)",
      json: [
        ("kind", .string("summary")), ("objects", .number("\(result.objects.count)")),
        ("bytes", .number("\(result.objects.bytes)")), ("blobs", .number("\(result.blobs)")),
        ("findings", .number("\(findings)")), ("queued", .number("\(result.queued)")),
      ]
    )
    if findings > result.queued { throw ExitCode.findings }
  }
}
