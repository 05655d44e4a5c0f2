/// What the blob table takes on disk.
public struct BlobTableSpace: Sendable {
  /// Its bytes, with what is stored out of line and with its indexes.
  public let tableBytes: Int64
  /// About how many of these hold nothing any more, from the server's statistics.
  public let reclaimableBytes: Int64
  /// The table's name, quoted.
  let table: String

  /// What can be given back, and by what, for people.
  ///
  /// Source: PostgreSQL manual, section 25.1.2, Recovering Disk Space.
  public var advice: String {
    """
    \(table) takes \(ByteCount.text(tableBytes)) on disk; about \(ByteCount.text(reclaimableBytes)) of it hold nothing any more. \
    VACUUM \(table) lets new rows use them. To give them back to the system: pg_repack --table \(table), which lets \
    everybody work on, or VACUUM FULL \(table), which locks the table while it runs.
    """
  }
}
