import MigrationGenerator
import RetentionModel

/// What the status page shows: one snapshot of an installation.
public struct StatusReport: Sendable {
  /// What a question gave that may take long where tables are large.
  enum Answer<Value: Sendable>: Sendable {
    case found(Value)
    /// The server gave the question up.
    case tookTooLong

    var value: Value? {
      switch self {
      case .found(let value): value
      case .tookTooLong: nil
      }
    }
  }

  struct Installation: Sendable {
    var generatedAt: Moment
    var database: String
    var objects: ObjectNames
    var refcounting: RefcountingMode
    var serverVersion: String
    var isStandby: Bool
    /// How many files the runner has applied, and when the last; nil: it keeps no record here, or the role may not read it.
    var files: (count: Int, last: Moment?)?
    var tableSpace: BlobTableSpace
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

  struct Expiry: Sendable {
    var dataClass: String
    var rows: Int
    var bytes: Int
    var oldest: Moment?
    var newest: Moment?
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
    var sizes: DatabaseSizes
    /// Every class that is in use, by its own name: a label of a metric may hold it in another form.
    var storage: [DatabaseSizes.Storage]
    var unresolvedHashes: Int
    /// Those with the most references.
    var unresolved: [Unresolved]
    var oldestDeletion: Moment?
    var lastDeletionError: String?
    var anomalies: Int
    var lastAnomaly: Moment?
  }

  var installation: Installation
  var checks: Answer<[HealthCheck]>
  var backlog: Answer<Backlog>
  /// One point for each class and day, the oldest first.
  var history: Answer<[StoragePoint]>
  var policy: [Setting]
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
