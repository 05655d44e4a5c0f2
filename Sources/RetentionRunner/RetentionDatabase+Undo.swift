import Logging
import Postgres

/// What an undo has brought back, and what it could not.
public struct UndoneCleanup: Sendable {
  /// Rows that stay in the archive: table_name, row_key, reason.
  public let conflicts: QueryResult
  /// Rows that are back.
  public let rows: Int
  /// Bytes of those of them that are blobs.
  public let bytes: Int64
}

extension RetentionDatabase {
  /// Brings back what a cleanup run has deleted and archived.
  ///
  /// All or nothing but for the rows that are in the way: those are named, and stay in the archive.
  public func undo(run id: Int) throws -> UndoneCleanup {
    let runs = names.qualified("cleanup_runs")
    let undone = try installed {
      try connection.transaction {
        try connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        let before = try connection.query("SELECT undone_rows, undone_bytes FROM \(runs) WHERE id = $1", id).first
        let conflicts = try connection.query("SELECT * FROM \(names.qualified("undo_cleanup"))($1)", id)
        let after = try connection.query("SELECT undone_rows, undone_bytes FROM \(runs) WHERE id = $1", id).first
        func more(_ column: String) throws -> Int { (try after?.int(column) ?? 0) - (try before?.int(column) ?? 0) }
        return UndoneCleanup(
          conflicts: conflicts,
          rows: try more("undone_rows"),
          bytes: Int64(try more("undone_bytes"))
        )
      }
    }
    logger.info(
      "undo",
      metadata: [
        "run_id": .stringConvertible(id), "rows": .stringConvertible(undone.rows),
        "bytes": .stringConvertible(undone.bytes), "conflicts": .stringConvertible(undone.conflicts.rows.count),
      ]
    )
    return undone
  }

  /// What a run has put into the archive and taken out of it: archived_rows, archived_bytes, purged_rows, purged_bytes.
  ///
  /// - Returns: nil for a role that may not read it.
  public func archiveFigures(ofRun id: Int) -> Row? {
    let runs = names.qualified("cleanup_runs")
    let figures = try? connection.query(
      "SELECT archived_rows, archived_bytes, purged_rows, purged_bytes FROM \(runs) WHERE id = $1",
      id
    )
    return figures?.first
  }
}
