import ArgumentParser
import RetentionRunner

struct BlobHead: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "head",
    abstract: "Show where a blob is, its size and media type; exit 1 when there is none."
  )

  @OptionGroup var transfer: TransferOptions

  @Argument(help: "The blob's hash.")
  var hash: String

  func run() throws {
    let session = try transfer.session(.reads)
    let store = try session.blobStore(isNeeded: false)
    let hash = hash
    guard let place = try Interruption.awaiting({ try await store.location(of: hash) }) else {
      throw RunnerError("there is no blob with the hash \(hash)")
    }
    let fields: [(name: String, value: String)] = [
      ("hash", place.hash), ("size", "\(place.size)"), ("media_type", place.mediaType),
      ("storage_class", place.storageClass), ("object", place.objectKey.map { store.prefix + $0 } ?? ""),
      ("created_at", place.createdAt),
    ]
    switch session.format {
    case .text: print(TextTable(pairs: fields), terminator: "")
    case .json:
      let values = fields.map {
        (name: $0.name, value: $0.name == "size" ? JSONValue.number($0.value) : .string($0.value))
      }
      print(JSONValue.object(values).text)
    }
  }
}
