import ArgumentParser
import Foundation
import NIOCore
import RetentionRunner

struct BlobGet: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "get",
    abstract: "Write a blob's content, and check its hash.",
    discussion:
      "A file appears when all of it was read and its hash is right; what was piped before an error is not to be trusted."
  )

  @OptionGroup var transfer: TransferOptions

  @Argument(help: "The blob's hash.")
  var hash: String

  @Option(name: .shortAndLong, help: "The file; default: standard output.")
  var output: String?

  func run() throws {
    let session = try transfer.session(.reads)
    let store = try session.blobStore(isNeeded: false)
    let progress = output == nil ? nil : transfer.progress("get")
    let (hash, output) = (hash, output)
    try Interruption.awaiting {
      defer { progress?.finish() }
      guard let output else {
        try await store.read(hash) { try $0.withUnsafeReadableBytes { try StandardOutput.write($0) } }
        return
      }
      if let place = try await store.location(of: hash) {
        progress?.expect(TransferProgress.Amount(count: 1, bytes: place.size))
      }
      try await AtomicFile.write(to: output) { file in
        try await store.read(hash) { piece in
          try file.write(piece.readableBytesView)
          progress?.add(bytes: Int64(piece.readableBytes))
        }
      }
    }
  }
}
