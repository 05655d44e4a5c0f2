import Foundation
import Postgres

extension RetentionDatabase {
  /// Why the installation is not as it should be, a line each; none: it is. Cheap enough to be asked every few seconds.
  ///
  /// - Parameters:
  ///   - migrator: has the files that should be applied.
  ///   - interval: the time between two cleanups.
  func unreadiness(_ migrator: Migrator, interval: TimeInterval) throws -> [String] {
    guard try isInstalled() else {
      return ["migrations: not installed in schema \(schema); run: jam-retention migrate up"]
    }
    let differing = try migrator.plan().filter { $0.state != .current }.map(\.migration.name)
    let files =
      differing.isEmpty
      ? nil : "migrations: not as applied: \(differing.joined(separator: ", ")); see: jam-retention doctor"
    return try [files, overdueSuccess(interval)].compactMap(\.self)
  }

  /// A cleanup may miss one interval, and take a while. Where the policy makes every run a dry run, those count.
  private func overdueSuccess(_ interval: TimeInterval) throws -> String? {
    let row = try connection.query(
      """
      SELECT coalesce('the last at ' || r.finished_at::timestamptz(0)::text, 'none yet') AS last
      FROM \(names.qualified("retention_policy")) AS p
      CROSS JOIN LATERAL (
        SELECT max(c.finished_at) AS finished_at
        FROM \(names.qualified("cleanup_runs")) AS c
        WHERE c.status = 'completed' AND (NOT c.dry_run OR p.dry_run)
      ) AS r
      WHERE p.retention_days > 0
        AND coalesce(r.finished_at, p.installed_at) < now() - make_interval(secs => 2 * $1::double precision + 60)
      """,
      interval
    ).first
    return try row.map { "last success: no cleanup has completed for two intervals, \(try $0.string("last"))" }
  }
}
