import Logging
import Postgres
import RetentionModel
import RetentionRunner

/// What a command on a database works with.
struct Session {
  let configuration: RetentionConfiguration
  let model: RetentionModel
  let logger: Logger
  let format: OutputFormat

  func connect() throws -> Connection {
    try Connection(configuration.connectionString(), logger: logger)
  }

  func database() throws -> RetentionDatabase {
    RetentionDatabase(connection: try connect(), model: model, logger: logger)
  }
}
