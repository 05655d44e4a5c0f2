/// How much the retention looks after.
public struct DatabaseSizes: Sendable {
  /// Blobs of one storage class.
  public struct Storage: Sendable {
    /// `db` or `s3`.
    public let storageClass: String
    /// How many blobs.
    public let rows: Int
    /// Their sizes together.
    public let bytes: Int
  }

  /// What waits for a fold, a blob or a sweep.
  public struct Backlog: Sendable {
    /// Reference changes that wait for a fold.
    public let ledgerEntries: Int
    /// The age of the oldest of them, in seconds; 0 when there are none.
    public let ledgerOldestSeconds: Int
    /// References to blobs that are not here.
    public let unresolvedReferences: Int
    /// Objects that the store has not deleted yet, and their bytes.
    public let pendingDeletions: TransferProgress.Amount
  }

  /// One for each storage class that is in use.
  public let storage: [Storage]
  /// What waits.
  public let backlog: Backlog
}
