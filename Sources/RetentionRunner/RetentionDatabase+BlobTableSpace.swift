import Postgres

extension RetentionDatabase {
  /// What the blob table takes on disk, and how much of that an offload has left empty.
  public func blobTableSpace() throws -> BlobTableSpace {
    let table = names.table(blobs.table)
    // A content is stored out of line in chunks of which four fill a page of 8 kB.
    let row = try connection.query(
      """
      SELECT pg_total_relation_size(c.oid) AS total,
        greatest(0, pg_relation_size(c.reltoastrelid) - coalesce(pg_stat_get_live_tuples(c.reltoastrelid), 0) * 2048) AS reclaimable
      FROM pg_class AS c
      WHERE c.oid = $1::regclass
      """,
      table.quoted
    ).first
    return BlobTableSpace(
      tableBytes: Int64(try row?.int("total") ?? 0),
      reclaimableBytes: Int64(try row?.int("reclaimable") ?? 0),
      table: table.quoted
    )
  }

  /// The policy's `offload_threshold_bytes`: larger blobs belong in the object store.
  public func offloadThreshold() throws -> Int64 {
    Int64(try policy().int("offload_threshold_bytes"))
  }
}
