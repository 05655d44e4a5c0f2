import EmbeddedPostgres
import Logging
import Postgres

/// The one server that the tests share, started by the first that needs it.
enum TestServer {
  private static let started = Result { try EmbeddedPostgres.start() }

  static func shared() throws -> EmbeddedPostgres { try started.get() }

  static func connect(logger: Logger? = nil) throws -> Connection {
    try Connection(ConnectionString(shared().connectionString), applicationName: "postgres-tests", logger: logger)
  }
}
