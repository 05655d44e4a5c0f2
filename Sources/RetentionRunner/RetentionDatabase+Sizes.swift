import Postgres

extension RetentionDatabase {
  /// Blobs by storage class, and what waits.
  public func sizes() throws -> DatabaseSizes { DatabaseSizes(storage: try storage(), backlog: try backlog()) }

  /// Blobs by storage class.
  func storage() throws -> [DatabaseSizes.Storage] {
    try installed {
      try connection.query(
        "SELECT storage_class, blobs, bytes FROM \(names.qualified("storage")) ORDER BY storage_class"
      )
    }.rows.map {
      DatabaseSizes.Storage(
        storageClass: try $0.string("storage_class"),
        rows: try $0.int("blobs"),
        bytes: try $0.int("bytes")
      )
    }
  }

  /// The ledger's backlog, references to blobs that are not here, and objects to delete.
  func backlog() throws -> DatabaseSizes.Backlog {
    let rows = try installed {
      try connection.query(
        """
        SELECT queue, entries, amount, coalesce(extract(epoch FROM now() - oldest), 0)::bigint AS seconds
        FROM \(names.qualified("backlog"))()
        """
      ).rows
    }
    func queue(_ name: String) throws -> Row {
      guard let row = rows.first(where: { $0["queue"] == name }) else {
        throw RunnerError("\(names.qualified("backlog").quoted)() has no \(name): run jam-retention migrate up")
      }
      return row
    }
    let ledger = try queue("reference ledger")
    let deletions = try queue("object deletions")
    return DatabaseSizes.Backlog(
      ledgerEntries: try ledger.int("entries"),
      ledgerOldestSeconds: try ledger.int("seconds"),
      unresolvedReferences: try queue("unresolved references").int("amount"),
      pendingDeletions: TransferProgress.Amount(
        count: try deletions.int("entries"),
        bytes: Int64(try deletions.int("amount"))
      )
    )
  }
}
