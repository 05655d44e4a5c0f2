import Logging
import Postgres
import RetentionModel
import RetentionRunner

/// What a command on a database works with.
struct Session: Sendable {
  let configuration: RetentionConfiguration
  let model: RetentionModel
  let logger: Logger
  let format: OutputFormat

  func connect() throws -> Connection {
    let connection = try connectUnwatched()
    Interruption.watch(connection)
    return connection
  }

  /// A connection that a signal leaves alone: nothing hangs on its statements.
  func connectUnwatched() throws -> Connection {
    let connection = try Connection(configuration.connectionString(), logger: logger)
    if configuration.retentionInterval.isSet {
      try connection.expectCleanup(every: configuration.retentionInterval.value)
    }
    return connection
  }

  /// The blobs, for commands that move them; a signal ends those by their task.
  ///
  /// - Parameter isNeeded: whether it is an error, at once, when no object store is configured.
  func blobStore(isNeeded: Bool = true) throws -> BlobStore {
    let objects = Result { try configuration.blobStore.objectStore() }
    if isNeeded { _ = try objects.get() }
    return BlobStore(
      model: model,
      objects: objects,
      prefix: configuration.blobStore.prefix,
      logger: logger
    ) { try connectUnwatched() }
  }

  func database() throws -> RetentionDatabase {
    RetentionDatabase(connection: try connect(), model: model, logger: logger)
  }
}
