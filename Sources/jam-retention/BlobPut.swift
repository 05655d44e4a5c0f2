import ArgumentParser
import Foundation
import ObjectStore
import RetentionRunner

struct BlobPut: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "put",
    abstract: "Put a file and print its hash.",
    discussion: """
      Up to offload_threshold_bytes of the policy the content goes into its row; above it, where runtime.jam.storage_class \
      says: db or s3.
      """
  )

  @OptionGroup var transfer: TransferOptions

  @Argument(help: "The file, or a pipe; - for standard input.")
  var file: String

  @Option(help: "The media type.")
  var mediaType = ""

  @Option(help: "Who puts it.")
  var uploader = ""

  @Option(help: "Where a content over the threshold goes: db or s3; default: the configuration's.")
  var storageClass: String?

  @Option(help: "The hash that the content must have.")
  var expect: String?

  func run() throws {
    let flags = [ConfigurationFlag(.storageClass, "--storage-class", storageClass)] + transfer.store.flags
    let session = try transfer.database.session(.changes, flags: flags, environment: transfer.store.environment)
    let usesObjectStore = session.configuration.storageClass.value == .objectStore
    let store = try session.blobStore(isNeeded: usesObjectStore)
    let progress = transfer.progress("put")
    let (file, mediaType, uploader, expect) = (file, mediaType, uploader, expect)
    let put = try Interruption.awaiting {
      defer { progress?.finish() }
      func put(_ path: String) async throws -> BlobStore.Put {
        let content = try await ObjectContent(file: path)
        if let expect, expect != content.sha256 {
          throw RunnerError("the content of \(file) has the hash \(content.sha256), not \(expect); nothing was put")
        }
        progress?.expect(TransferProgress.Amount(count: 1, bytes: content.size))
        return try await store.put(
          content,
          mediaType: mediaType,
          uploader: uploader,
          usesObjectStore: usesObjectStore,
          progress: progress
        )
      }
      return try await SpooledInput.isNeeded(for: file) ? SpooledInput.copying(file, put) : put(file)
    }
    session.format.show(
      put.hash,
      json: [
        ("hash", .string(put.hash)), ("size", .number("\(put.size)")), ("storage_class", .string(put.storageClass)),
        ("was_there", .boolean(put.wasThere)),
      ]
    )
  }
}
