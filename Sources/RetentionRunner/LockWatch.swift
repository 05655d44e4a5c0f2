import Foundation
import Postgres
import Synchronization

/// Sees who stands in the way of a session that waits for locks, from a second one while it waits: afterwards the server
/// cannot tell, and who has locked something may be waiting as well.
final class LockWatch: Sendable {
  private struct State {
    var blockers = ""
    var isOver = false
  }

  private let watcher: Connection
  private let processID: Int32
  private let state = Mutex(State())
  private let ended = DispatchSemaphore(value: 0)

  private init(of connection: Connection) throws {
    watcher = try connection.another()
    processID = connection.processID
  }

  /// Runs the body, in which the session waits.
  ///
  /// - Parameter interval: the seconds between two looks.
  /// - Returns: what the body returns or throws, and who was in its way last, as part of a sentence. Where a second
  ///   connection cannot be had, that is empty, and so it is where nobody was seen.
  static func watching<Value>(
    _ connection: Connection,
    every interval: TimeInterval,
    _ body: () throws -> Value
  ) -> (result: Result<Value, any Error>, blockers: String) {
    guard let watch = try? LockWatch(of: connection) else { return (Result { try body() }, "") }
    Thread { watch.look(every: interval) }.start()
    let result = Result { try body() }
    watch.state.withLock { $0.isOver = true }
    watch.ended.wait()
    return (result, watch.state.withLock(\.blockers))
  }

  private func look(every interval: TimeInterval) {
    while !state.withLock(\.isOver), let blockers = try? blockers() {
      if !blockers.isEmpty { state.withLock { $0.blockers = blockers } }
      Thread.sleep(forTimeInterval: interval)
    }
    watcher.close()
    ended.signal()
  }

  private func blockers() throws -> String {
    let rows = try watcher.query(
      """
      SELECT b.pid, coalesce(nullif(a.application_name, ''), 'unnamed') AS application, w.relation::regclass::text AS relation
      FROM pg_locks AS w
      CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS pid) AS b
      LEFT JOIN pg_stat_activity AS a ON a.pid = b.pid
      WHERE w.pid = $1 AND NOT w.granted AND b.pid <> pg_backend_pid()
      ORDER BY b.pid
      """,
      processID
    ).rows
    return try rows.map { row in
      // Of a prepared transaction no process is left.
      let holder =
        try row.int("pid") == 0
        ? "a prepared transaction (see pg_prepared_xacts)"
        : "process \(try row.string("pid")) (\(try row.string("application")))"
      return "\(holder) \(row["relation"].map { "has \($0) locked" } ?? "is waited for"); "
    }.joined()
  }
}
