import Logging
import Postgres
import RetentionModel
import SafeSQL

/// How the service reaches its database.
///
/// Whoever vanishes without a word, host or server, is noticed by the other side within half a minute: the lock of the
/// working service is a session's, and another can have it only when the server gives up that session.
struct ServiceConnections: Sendable {
  /// Seconds, or milliseconds where libpq counts so.
  private static let clientDefaults = [
    "keepalives_idle": "15", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "30000",
  ]
  /// The same on the server's side, and no limit that an administrator has set for people's sessions.
  private static let workSettings = [
    ("tcp_keepalives_idle", "15"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "30000"), ("idle_session_timeout", "0"), ("statement_timeout", "0"),
    ("transaction_timeout", "0"),
  ]
  private static let requestSettings = [
    ("statement_timeout", "5s"), ("lock_timeout", "2s"), ("idle_session_timeout", "0"),
    ("default_transaction_read_only", "on"),
  ]

  let string: ConnectionString
  let model: RetentionModel
  let logger: Logger
  /// The time between two cleanups.
  let interval: Duration

  /// A session that works: cleans up, folds.
  func openForWork() throws -> RetentionDatabase {
    let database = try open(Self.workSettings)
    do {
      // A cleanup's statement lasts as long as the cleanup. Without this the server goes on with it when its client is gone.
      try database.connection.execute("SET client_connection_check_interval = '2s'")
    } catch let error as PostgresError where error.kind == .server {
      // Not every operating system lets a server ask.
      logger.debug("the server does not watch its clients", metadata: ["error": "\(error)"])
    }
    if try database.connection.query("SELECT pg_is_in_recovery() AS found").first?.bool("found") == true {
      database.connection.close()
      throw RunnerError("the server is a standby: connect to the primary")
    }
    return database
  }

  /// A session that answers requests: it reads, and no statement of it lasts.
  func openForRequests() throws -> RetentionDatabase {
    let database = try open(Self.requestSettings)
    try database.connection.expectCleanup(every: interval)
    return database
  }

  private func open(_ settings: [(name: String, value: String)]) throws -> RetentionDatabase {
    let connection = try Connection(string, defaults: Self.clientDefaults, logger: logger)
    let values = SQL.joined(settings.map { "(\(literal: $0.name), \(literal: $0.value))" })
    // Older servers do not have all of them.
    try connection.execute(
      """
      SELECT set_config(s.name, s.value, false) FROM (VALUES \(values)) AS s (name, value)
      WHERE EXISTS (SELECT FROM pg_settings AS g WHERE g.name = s.name)
      """
    )
    return RetentionDatabase(connection: connection, model: model, logger: logger)
  }
}
