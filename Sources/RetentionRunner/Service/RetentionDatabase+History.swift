import Foundation
import Postgres

extension RetentionDatabase {
  /// A running record without a cleanup at work: so many looks, so many seconds apart, tell it from the instant between
  /// two batches, in which a cleanup holds no lock.
  private static let looks = 3
  private static let secondsBetweenLooks = 0.05

  /// The runs of the past. Dry runs count where the policy makes every run one.
  func cleanupHistory() throws -> CleanupHistory {
    let isAtWork = try isCleanupAtWork()
    let row = try installed {
      try connection.query(
        """
        WITH runs AS MATERIALIZED (
          SELECT r.id, r.started_at, coalesce(r.finished_at, r.started_at) AS ended_at,
            r.status IN ('failed', 'interrupted') OR r.status = 'running' AND NOT $1::boolean AS is_unfinished
          FROM \(names.qualified("cleanup_runs")) AS r
          CROSS JOIN \(names.qualified("retention_policy")) AS p
          WHERE (NOT r.dry_run OR p.dry_run) AND r.status NOT IN ('skipped', 'disabled')
        ), counted AS (
          SELECT max(r.id) AS id, max(r.started_at) AS started_at FROM runs AS r WHERE NOT r.is_unfinished
        )
        SELECT extract(epoch FROM clock_timestamp())::double precision AS now, p.retention_days > 0 AS is_enabled,
          extract(epoch FROM c.started_at)::double precision AS last_start, a.attempts,
          extract(epoch FROM a.last_attempt)::double precision AS last_attempt
        FROM \(names.qualified("retention_policy")) AS p
        CROSS JOIN counted AS c
        CROSS JOIN LATERAL (
          SELECT count(*) AS attempts, max(r.ended_at) AS last_attempt FROM runs AS r WHERE r.id > coalesce(c.id, 0)
        ) AS a
        """,
        isAtWork
      ).first
    }
    guard let row else { throw missingPolicy }
    func date(_ name: String) throws -> Date? {
      try row.optionalDouble(name).map { Date(timeIntervalSince1970: $0) }
    }
    return CleanupHistory(
      now: Date(timeIntervalSince1970: try row.double("now")),
      isEnabled: try row.bool("is_enabled"),
      lastStart: try date("last_start"),
      attempts: try row.int("attempts"),
      lastAttempt: try date("last_attempt")
    )
  }

  /// Whether a session is carrying out the run that is recorded as running.
  private func isCleanupAtWork() throws -> Bool {
    let lock = names.cleanupLock(of: blobs)
    for look in 1...Self.looks {
      let row = try installed {
        try connection.query(
          """
          SELECT EXISTS (SELECT FROM \(names.qualified("cleanup_runs")) WHERE status = 'running') AS is_recorded,
            EXISTS (
              SELECT FROM pg_locks
              WHERE locktype = 'advisory' AND granted AND objsubid = 2
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND classid::bigint = $1 AND objid::bigint = $2
            ) AS is_held
          """,
          Int(UInt32(bitPattern: lock.namespace)),
          Int(lock.key)
        ).first
      }
      guard let row, try row.bool("is_recorded") else { return false }
      if try row.bool("is_held") { return true }
      if look < Self.looks { Thread.sleep(forTimeInterval: Self.secondsBetweenLooks) }
    }
    return false
  }
}
