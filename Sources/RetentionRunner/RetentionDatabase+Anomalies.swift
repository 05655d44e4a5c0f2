import Logging
import Postgres
import SafeSQL

extension RetentionDatabase {
  /// Runs the body, then warns of every anomaly that was recorded meanwhile, by whomever.
  ///
  /// Whoever may not read the anomalies can work all the same, without the warnings.
  func reportingAnomalies<Result>(_ body: () throws -> Result) throws -> Result {
    let last = readAnomalies { table in
      try connection.query("SELECT coalesce(max(id), 0) AS id FROM \(table)").first?.int("id")
    }
    // Also when the body fails: a cleanup keeps the batches before its error.
    defer {
      let anomalies = readAnomalies { table in
        try last.map { try connection.query("SELECT hash, stored, delta FROM \(table) WHERE id > $1 ORDER BY id", $0) }
      }
      for anomaly in anomalies?.rows ?? [] { logger.warning("refcount anomaly", metadata: anomaly.metadata) }
    }
    return try body()
  }

  private func readAnomalies<Result>(_ read: (QualifiedName) throws -> Result?) -> Result? {
    do {
      return try read(names.qualified("refcount_anomalies"))
    } catch {
      logger.debug("anomalies not read", metadata: ["error": "\(error)"])
      return nil
    }
  }
}
