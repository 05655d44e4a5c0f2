import Postgres

extension RetentionDatabase {
  /// Blobs by storage class, the ledger's backlog, and references to blobs that are not here.
  public func sizes() throws -> DatabaseSizes {
    let metrics = [
      "\(blobs.plural)_rows", "\(blobs.plural)_bytes", "reference_ledger_entries", "reference_ledger_oldest_seconds",
      "unresolved_references", "blob_deletions_pending", "blob_deletions_pending_bytes",
    ].map { names.identifier($0).name }
    let rows = try installed {
      try connection.query(
        "SELECT name, labels, value FROM \(names.qualified("metrics")) WHERE name = ANY ($1::text[])",
        metrics
      ).rows
    }
    /// By the value of the label: `storage_class="db"` → db.
    func values(_ name: String) throws -> [String: Int] {
      let found = try rows.filter { try $0.string("name") == name }
      return try Dictionary(
        found.map { row in
          let label = try row.string("labels").split(separator: "\"", omittingEmptySubsequences: false).dropFirst()
            .first
          // A size is whatever a client has written.
          let value = try row.double("value")
          return (String(label ?? ""), Int(exactly: value.rounded()) ?? (value < 0 ? .min : .max))
        }
      ) { $1 }
    }
    let bytes = try values(metrics[1])
    return DatabaseSizes(
      storage: try values(metrics[0]).sorted { $0.key < $1.key }.map {
        DatabaseSizes.Storage(storageClass: $0.key, rows: $0.value, bytes: bytes[$0.key] ?? 0)
      },
      ledgerEntries: try values(metrics[2])[""] ?? 0,
      ledgerOldestSeconds: try values(metrics[3])[""] ?? 0,
      unresolvedReferences: try values(metrics[4])[""] ?? 0,
      pendingDeletions: TransferProgress.Amount(
        count: try values(metrics[5])[""] ?? 0,
        bytes: Int64(try values(metrics[6])[""] ?? 0)
      )
    )
  }
}
