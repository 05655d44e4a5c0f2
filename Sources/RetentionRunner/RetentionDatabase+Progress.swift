import Postgres

extension RetentionDatabase {
  /// A cleanup that is at work.
  struct RunInProgress {
    let batches: Int
    let deletedRows: Int
    let elapsedSeconds: Int
  }

  /// The server's time, as text that it reads back to the microsecond.
  func clock() throws -> String {
    guard let row = try connection.query("SELECT clock_timestamp()::text AS now").first else { return "-infinity" }
    return try row.string("now")
  }

  /// The cleanup that was started after that time and is at work. There is one at most.
  func runInProgress(since start: String) throws -> RunInProgress? {
    let row = try connection.query(
      """
      SELECT *, extract(epoch FROM clock_timestamp() - started_at)::bigint AS elapsed_seconds
      FROM \(names.qualified("cleanup_runs"))
      WHERE status = 'running' AND started_at >= $1::timestamptz
      ORDER BY id DESC
      LIMIT 1
      """,
      start
    ).first
    return try row.map { row in
      let deleted = try row.columns.filter { $0.hasPrefix("deleted_") }.map { try row.int($0) }
      return RunInProgress(
        batches: try row.int("batches"),
        deletedRows: deleted.reduce(0, +),
        elapsedSeconds: try row.int("elapsed_seconds")
      )
    }
  }
}
