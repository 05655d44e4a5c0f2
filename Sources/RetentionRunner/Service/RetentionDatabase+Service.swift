import Postgres

extension RetentionDatabase {
  /// Whether this session is now the one of the service that works; it stays so until the session ends.
  func takeServiceLock() throws -> Bool {
    try connection.query("SELECT pg_try_advisory_lock(\(names.serviceLock)) AS taken").first?.bool("taken") == true
  }

  /// - Throws: `PostgresError` of the kind `connection` where this session does not have the lock that it took.
  func checkServiceLock() throws {
    let row = try connection.query(
      """
      SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted AND objsubid = 1
          AND (classid::bigint << 32) | objid::bigint = \(names.serviceLock)
      ) AS held
      """
    ).first
    guard try row?.bool("held") == true else {
      throw PostgresError(
        kind: .connection,
        message: "the session has lost its lock",
        hint: "connect to the server itself, or to a pooler in session mode"
      )
    }
  }

  /// Ends a run that another session carries out: it stops before its next batch. Returns whether it is ended.
  func endRun(_ id: Int, error: String) throws -> Bool {
    let row = try connection.query(
      "SELECT status FROM \(names.qualified("cleanup_finish"))($1, 'interrupted', $2)",
      id,
      error
    ).first
    return try row?.optionalString("status") != nil
  }

  /// Ledger entries that wait for a fold; of a long ledger an estimate.
  func ledgerEntries() throws -> Int {
    let row = try installed {
      try connection.query(
        "SELECT entries FROM \(names.qualified("backlog"))() WHERE queue = 'reference ledger'"
      ).first
    }
    return try row?.int("entries") ?? 0
  }
}
