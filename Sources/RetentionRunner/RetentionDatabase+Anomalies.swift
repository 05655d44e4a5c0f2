import Logging
import Postgres
import SafeSQL

extension RetentionDatabase {
  /// Runs the body, then warns of every anomaly that was recorded meanwhile, by whomever.
  func reportingAnomalies<Result>(_ body: () throws -> Result) throws -> Result {
    let table = names.qualified("refcount_anomalies")
    let last = try connection.query("SELECT coalesce(max(id), 0) AS id FROM \(table)").first?.int("id") ?? 0
    // Also when the body fails: a cleanup keeps the batches before its error.
    defer { logAnomalies(of: table, after: last) }
    return try body()
  }

  private func logAnomalies(of table: QualifiedName, after last: Int) {
    do {
      let anomalies = try connection.query("SELECT hash, stored, delta FROM \(table) WHERE id > $1 ORDER BY id", last)
      for anomaly in anomalies.rows { logger.warning("refcount anomaly", metadata: anomaly.metadata) }
    } catch {
      logger.warning("anomalies not read", metadata: ["error": "\(error)"])
    }
  }
}
