import Foundation
import Logging
import ObjectStore
import Postgres

extension BlobStore {
  /// What a sweep has done.
  public struct Sweep: Sendable {
    /// Objects that the store has deleted; in a dry run those that are due.
    public var deleted = TransferProgress.Amount()
    /// Objects that it has not; they are tried again later.
    public var failed = 0
    /// The last reason.
    public var lastError: String?
    /// Parts of uploads in parts that were never ended.
    public var unfinishedUploads = 0
    /// What is in the queue still, due later.
    public var waiting = 0
  }

  /// Objects that one call claims and one request deletes. Source: Amazon S3 API, DeleteObjects: at most 1000 keys.
  private static let sweepBatch = 1000
  /// Uploads in parts that are older than any lease belong to nobody.
  private static let unfinishedUploadAge: TimeInterval = 86400

  /// Deletes the objects that are queued for deletion and due, and what dead uploads have left.
  ///
  /// - Parameter limit: at most so many objects; nil: all.
  /// - Throws: `PostgresError`; what the store refuses is counted and comes again.
  public func sweep(limit: Int? = nil, isDryRun: Bool = false, progress: TransferProgress? = nil) async throws -> Sweep
  {
    guard !isDryRun else {
      var sweep = Sweep()
      sweep.deleted = try await dueDeletions(limit)
      return sweep
    }
    var sweep = try await sweepDeletions(limit: limit, progress: progress)
    sweep.unfinishedUploads = try await removeUnfinishedUploads()
    return sweep
  }

  /// Deletes the objects that are queued for deletion and due. What was claimed when the task is cancelled comes again.
  func sweepDeletions(limit: Int?, progress: TransferProgress? = nil) async throws -> Sweep {
    let connection = try await connection()
    var sweep = Sweep()
    var left = limit ?? .max
    while left > 0 {
      try Task.checkCancellation()
      let claimed = try await connection.queryUntilCancelled(
        "SELECT deletion_id, object_key, size FROM \(names.qualified("blob_deletions_claim"))($1::integer)",
        min(left, Self.sweepBatch)
      )
      if claimed.isEmpty { break }
      left -= claimed.count
      try await delete(claimed, into: &sweep, progress, on: connection)
    }
    sweep.waiting =
      try await connection.queryUntilCancelled("SELECT count(*) AS n FROM \(names.qualified("blob_deletions"))").first?
      .int("n") ?? 0
    return sweep
  }

  /// Removes what uploads in parts have left that died, and returns how many there were. Each call lists them all.
  func removeUnfinishedUploads() async throws -> Int {
    do {
      return try await objects.removeUnfinishedUploads(
        prefix: prefix,
        begunBefore: Date(timeIntervalSinceNow: -Self.unfinishedUploadAge)
      )
    } catch let error as ObjectStoreError {
      // Not every store has uploads in parts; they only cost space. That it is not allowed somebody can mend.
      let level: Logger.Level = error.kind == .accessDenied ? .warning : .debug
      logger.log(level: level, "unfinished uploads not removed", metadata: ["error": "\(error)"])
      return 0
    }
  }

  /// What a sweep would delete now, of at most so many objects.
  func dueDeletions(_ limit: Int?) async throws -> TransferProgress.Amount {
    let rows = try await connection().queryUntilCancelled(
      """
      SELECT count(*) AS count, coalesce(sum(d.size), 0)::bigint AS bytes
      FROM (
        SELECT size FROM \(names.qualified("blob_deletions")) WHERE next_attempt_at <= now()
        UNION ALL
        SELECT size FROM \(names.qualified("blob_uploads")) WHERE expires_at <= now()
        LIMIT $1::bigint
      ) AS d
      """,
      limit ?? .max
    )
    guard let row = rows.first else { return TransferProgress.Amount() }
    return TransferProgress.Amount(count: try row.int("count"), bytes: Int64(try row.int("bytes")))
  }

  private func delete(
    _ claimed: [Row],
    into sweep: inout Sweep,
    _ progress: TransferProgress?,
    on connection: BackgroundConnection
  ) async throws {
    let ids = try Dictionary(claimed.map { (prefix + (try $0.string("object_key")), try $0.int("deletion_id")) }) { $1 }
    let sizes = try Dictionary(claimed.map { (try $0.int("deletion_id"), Int64(try $0.int("size"))) }) { $1 }
    var errors: [Int: String] = [:]
    do {
      for failure in try await objects.delete(ids.keys.sorted()) {
        if let id = ids[failure.key] { errors[id] = "\(failure.error)" }
      }
    } catch let error as ObjectStoreError {
      // Some of them may be gone, or may go later: the attempt is on record, and deleting again does no harm.
      for id in ids.values { errors[id] = "\(error)" }
    }
    let done = ids.values.filter { errors[$0] == nil }.sorted()
    _ = try await connection.queryUntilCancelled("SELECT \(names.qualified("blob_deletions_done"))($1::bigint[])", done)
    for (error, failed) in Dictionary(grouping: errors.keys, by: { errors[$0] ?? "" }) {
      logger.warning("objects not deleted", metadata: ["count": "\(failed.count)", "error": "\(error)"])
      _ = try await connection.queryUntilCancelled(
        "SELECT \(names.qualified("blob_deletions_failed"))($1::bigint[], $2)",
        failed.sorted(),
        error
      )
    }
    let bytes = done.map { sizes[$0] ?? 0 }.reduce(0, +)
    sweep.deleted.count += done.count
    sweep.deleted.bytes += bytes
    sweep.failed += errors.count
    sweep.lastError = errors.values.first ?? sweep.lastError
    progress?.add(count: done.count, bytes: bytes)
  }
}
