import Logging
import Synchronization

/// Opens the sessions that requests are answered in, and tells the log when none can be had, and when one can again: who
/// asks gets no word of the server's, and the session that works may be well meanwhile, as at a limit of connections.
final class RequestSessions: Sendable {
  private let connections: ServiceConnections
  private let isRefused = Atomic(false)

  init(_ connections: ServiceConnections) {
    self.connections = connections
  }

  func open() throws -> RetentionDatabase {
    let database: RetentionDatabase
    do {
      database = try connections.openForRequests()
    } catch {
      // Every request comes here.
      let level: Logger.Level = isRefused.exchange(true, ordering: .relaxed) ? .debug : .warning
      connections.logger.log(level: level, "no session for requests", metadata: ["error": "\(error)"])
      throw error
    }
    if isRefused.exchange(false, ordering: .relaxed) { connections.logger.info("requests have a session again") }
    return database
  }
}
