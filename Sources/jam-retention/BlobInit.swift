import ArgumentParser
import RetentionRunner

struct BlobInit: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Make the directory of a store, where it is none yet.",
    discussion:
      "Of what lies in an existing directory nothing is changed; one that holds other things is refused. Where the "
      + "directory is on a file system of its own, that must be mounted. The bucket of an S3 store is made with the "
      + "store's own tools."
  )

  @OptionGroup var database: DatabaseOptions
  @OptionGroup var store: BlobStoreOptions

  func run() throws {
    let session = try database.session(.changes, flags: store.flags, environment: store.environment)
    let store = try session.configuration.blobStore.directoryStore()
    let isNew = try Interruption.awaiting { try await store.create() }
    session.format.show(
      "the store \(store.directory) \(isNew ? "was created" : "is there already")",
      json: [("directory", .string(store.directory)), ("created", .boolean(isNew))]
    )
  }
}
