import MigrationGenerator
import RetentionModel

/// What the status page shows: one snapshot of an installation.
public struct StatusReport: Sendable {
  struct Installation: Sendable {
    var generatedAt: Moment
    var database: String
    var objects: ObjectNames
    var blobs: BlobTable
    var refcounting: RefcountingMode
    var serverVersion: String
    var isStandby: Bool
  }

  /// What the runner has applied.
  struct Files: Sendable {
    var count: Int
    var last: Moment?
  }

  struct StoragePoint: Sendable {
    var recordedAt: Moment
    var storageClass: String
    var blobs: Int
    var bytes: Int
  }

  struct Setting: Sendable {
    var name: String
    /// nil: NULL.
    var value: String?
  }

  struct Run: Sendable {
    var id: Int
    var startedAt: Moment
    var finishedAt: Moment?
    /// The cutoff that the caller gave.
    var cutoff: Moment?
    var isDryRun: Bool
    var status: String
    /// By class, in the order in which they are deleted.
    var deleted: [(name: String, rows: Int)]
    var freedBytes: Int
    /// Bytes of the deleted blobs that are in the archive.
    var archivedBytes: Int
    /// Rows and blobs left for the next run because others were using them.
    var busy: Int
    var error: String?
  }

  struct Runs: Sendable {
    var last: [Run]
    var total: Int
  }

  struct Blob: Sendable {
    var hash: String
    var size: Int
    var mediaType: String
    var storageClass: String
    var createdAt: Moment?
  }

  /// The references of one column to one blob.
  struct Holder: Sendable {
    var hash: String
    var table: String
    var column: String
    var references: Int
    /// One of the rows.
    var row: String
  }

  struct Unresolved: Sendable {
    var hash: String
    var references: Int
  }

  struct Backlog: Sendable {
    var sizes: DatabaseSizes.Backlog
    var unresolvedHashes: Int
    /// Those with the most references.
    var unresolved: [Unresolved]
    var oldestDeletion: Moment?
    var lastDeletionError: String?
    var anomalies: Int
    var lastAnomaly: Moment?
  }

  var installation: Installation
  /// nil: the runner keeps no record here, or the role may not read it.
  var files: Answer<Files?>
  var tableSpace: Answer<BlobTableSpace>
  var checks: Answer<[HealthCheck]>
  var storage: Answer<[DatabaseSizes.Storage]>
  var backlog: Answer<Backlog>
  /// One point for each class and day, the oldest first.
  var history: Answer<[StoragePoint]>
  var policy: Answer<[Setting]>
  var expiries: Answer<[Expiry]>
  var runs: Answer<Runs>
  /// The largest first.
  var largest: Answer<[Blob]>
  /// Exact counts of the largest blobs, by hash.
  var refcounts: Answer<[String: Int]>
  /// What holds the largest blobs.
  var holders: Answer<[Holder]>

  /// Whether every health check was answered and passed.
  public var isHealthy: Bool { checks.value?.allSatisfy(\.isHealthy) == true }
}
