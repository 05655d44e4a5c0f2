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
    try Connection(configuration.connectionString(), logger: logger)
  }

  func database() throws -> RetentionDatabase {
    RetentionDatabase(connection: try connect(), model: model, logger: logger)
  }
}
