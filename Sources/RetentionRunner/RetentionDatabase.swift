import Logging
import MigrationGenerator
import Postgres
import RetentionModel
import SafeSQL
import Synchronization

/// The installed retention, seen through its functions and views.
public struct RetentionDatabase: Sendable {
  /// The connection that all calls use.
  public let connection: Connection
  let logger: Logger
  let names: ObjectNames
  let blobs: BlobTable

  /// The schema of the tables.
  var schema: String { names.schema.name }

  /// Uses an open connection.
  public init(connection: Connection, model: RetentionModel, logger: Logger) {
    self.init(connection: connection, names: ObjectNames(model), blobs: model.blobs, logger: logger)
  }

  private init(connection: Connection, names: ObjectNames, blobs: BlobTable, logger: Logger) {
    self.connection = connection
    self.names = names
    self.logger = logger
    self.blobs = blobs
  }

  /// The same installation through another connection.
  func on(_ connection: Connection) -> RetentionDatabase {
    RetentionDatabase(connection: connection, names: names, blobs: blobs, logger: logger)
  }

  /// Runs a cleanup and returns its one row: run_id, status, counts.
  ///
  /// - Parameters:
  ///   - cutoff: a timestamp as PostgreSQL reads it; nil: the windows of the policy.
  ///   - dryRun: nil: the policy's.
  ///   - onBegin: gets the run's id, in the thread of this call, while the run is at work.
  public func cleanup(
    cutoff: String? = nil,
    dryRun: Bool? = nil,
    onBegin: (@Sendable (_ runID: Int) -> Void)? = nil
  ) throws -> Row {
    if let cutoff {
      do {
        _ = try connection.query("SELECT $1::timestamptz", cutoff)
      } catch let error as PostgresError where error.sqlState?.hasPrefix("22") == true {
        throw RunnerError("\"\(cutoff)\" is no cutoff; give a timestamp such as '2026-10-02 00:00+00'", isUsage: true)
      }
    }
    let start = ContinuousClock.now
    let begun = Mutex<Int?>(nil)
    do {
      let result = try installed {
        try reportingAnomalies {
          try reportingBatches { id in
            begun.withLock { $0 = id }
            onBegin?(id)
          } during: {
            try connection.query("CALL \(names.qualified("cleanup"))($1::timestamptz, $2::boolean)", cutoff, dryRun)
          }
        }
      }
      guard let row = result.first else { throw RunnerError("the cleanup returned no row") }
      // A real run that is refused throws; a dry run returns.
      let level: Logger.Level = try row.string("status") == "refused" ? .error : .info
      logCleanup(level, cutoff, since: start, try row.metadata.merging(runMetadata(row.int("run_id"))) { $1 })
      return row
    } catch {
      let end = endOfRun(begun.withLock { $0 }, error)
      logCleanup(end.isFailure ? .error : .warning, cutoff, since: start, end.metadata)
      throw error
    }
  }

  /// What became of a run whose call has thrown: its status and counts, as far as they can be read. One that was cut off has
  /// no end on record yet.
  private func endOfRun(_ id: Int?, _ error: any Error) -> (isFailure: Bool, metadata: Logger.Metadata) {
    let cause = error as? PostgresError
    let wasCutOff = cause?.kind == .connection || cause?.sqlState == "57014"
    var metadata: Logger.Metadata = ["status": wasCutOff ? "interrupted" : "failed"]
    if let id {
      metadata["run_id"] = .stringConvertible(id)
      let runs = names.qualified("cleanup_runs")
      let record = try? connection.query("SELECT * FROM \(runs) WHERE id = $1", id).first?.metadata
      let told = ["deleted_", "freed_", "busy_", "archived_", "purged_", "dry_run"]
      metadata.merge((record ?? [:]).filter { name, _ in told.contains(where: name.hasPrefix) }) { $1 }
      if let status = record?["status"], status != "running" { metadata["status"] = status }
    }
    metadata["error"] = "\(error)"
    return (!wasCutOff, metadata)
  }

  private func logCleanup(
    _ level: Logger.Level,
    _ cutoff: String?,
    since start: ContinuousClock.Instant,
    _ metadata: Logger.Metadata
  ) {
    let milliseconds = Int((ContinuousClock.now - start) / .milliseconds(1))
    let common: Logger.Metadata = ["cutoff": "\(cutoff ?? "policy")", "duration_ms": .stringConvertible(milliseconds)]
    logger.log(level: level, "cleanup", metadata: common.merging(metadata) { $1 })
  }

  /// What the procedure does not return: whether the policy made it a dry run, what it left for the next, why it did not
  /// do all, and what went into the archive and out of it. Nothing for a role that may not read it.
  private func runMetadata(_ id: Int) -> Logger.Metadata {
    let runs = names.qualified("cleanup_runs")
    let run = try? connection.query(
      "SELECT dry_run, busy_rows, error, archived_rows, archived_bytes, purged_rows, purged_bytes FROM \(runs) WHERE id = $1",
      id
    )
    return run?.first?.metadata ?? [:]
  }

  /// What a cleanup would delete now, a row per class.
  public func preview(cutoff: String? = nil) throws -> QueryResult {
    try installed {
      try connection.query("SELECT * FROM \(names.qualified("cleanup_preview"))($1::timestamptz)", cutoff)
    }
  }

  /// The hashes whose count is wrong; none: the conservation law holds.
  public func verify() throws -> QueryResult {
    try installed { try connection.query("SELECT * FROM \(names.qualified("verify_refcounts"))() ORDER BY 1") }
  }

  /// Corrects counts that are wrong and returns how many.
  public func repair() throws -> Int {
    let corrected = try callAtReadCommitted("repair_refcounts")
    logger.info("repair", metadata: ["corrected": .stringConvertible(corrected)])
    return corrected
  }

  /// Moves ledger entries into the counts and returns how many.
  public func fold() throws -> Int {
    let start = ContinuousClock.now
    let folded = try callAtReadCommitted("fold_references")
    let milliseconds = Int((ContinuousClock.now - start) / .milliseconds(1))
    logger.debug(
      "fold",
      metadata: ["entries": .stringConvertible(folded), "duration_ms": .stringConvertible(milliseconds)]
    )
    return folded
  }

  /// Calls a function that changes counts and returns a number of them.
  private func callAtReadCommitted(_ function: String) throws -> Int {
    try installed {
      try reportingAnomalies {
        try connection.transaction {
          try connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
          let result = try connection.query("SELECT \(names.qualified(function))() AS count")
          return try result.first?.int("count") ?? 0
        }
      }
    }
  }

  /// The policy row.
  public func policy() throws -> Row {
    let row = try installed { try connection.query("SELECT * FROM \(names.qualified("retention_policy"))").first }
    guard let row else { throw missingPolicy }
    return row
  }

  /// What is wrong where somebody has deleted the policy row. The file that made it is not applied a second time.
  var missingPolicy: RunnerError {
    let policy = names.qualified("retention_policy").quoted
    return RunnerError("the policy has no row; for one with the defaults: INSERT INTO \(policy) DEFAULT VALUES")
  }

  /// Changes one column of the policy and returns the change; nil: it had that value already.
  ///
  /// - Parameters:
  ///   - value: as PostgreSQL reads it; nil: NULL.
  ///   - origin: what of the configuration sets it; nil: somebody at the keyboard.
  /// - Throws: ``RunnerError`` for a column that the policy does not have or a value that its CHECK refuses.
  @discardableResult
  public func setPolicy(_ column: String, to value: String?, origin: ConfigurationOrigin? = nil) throws -> PolicyChange?
  {
    let change = try writePolicy(column, to: value, origin: origin)
    if let change { log(change) }
    return change
  }

  func log(_ change: PolicyChange) {
    logger.info("policy changed", metadata: change.metadata)
  }

  /// ``setPolicy(_:to:origin:)`` without a word.
  func writePolicy(_ column: String, to value: String?, origin: ConfigurationOrigin? = nil) throws -> PolicyChange? {
    let columns = try policy().columns.filter { $0 != "only_row" && $0 != "installed_at" }
    guard columns.contains(column) else {
      throw RunnerError(
        "the policy has no \"\(column)\"\(Suggestion.text(for: column, among: columns)); it has: \(columns.joined(separator: ", "))"
      )
    }
    let table = names.qualified("retention_policy")
    let name = Identifier(column)
    // What is allowed is read before: after an error the transaction answers nothing.
    let definition = try connection.query(
      """
      SELECT format_type(a.atttypid, a.atttypmod) AS type, (
        SELECT string_agg(pg_get_constraintdef(c.oid, true), ', ' ORDER BY c.conname) FROM pg_constraint AS c
        WHERE c.conrelid = a.attrelid AND c.contype = 'c' AND a.attnum = ANY (c.conkey)
      ) AS checks
      FROM pg_attribute AS a
      WHERE a.attrelid = $1::regclass AND a.attname = $2
      """,
      table.quoted,
      column
    ).first
    let type = try definition?.string("type") ?? "text"
    let row: Row?
    do {
      row = try installed {
        try connection.query(
          """
          UPDATE \(table) SET \(name) = $1::\(raw: type)
          FROM (SELECT \(name)::text AS value FROM \(table) FOR UPDATE) AS before
          RETURNING before.value AS value_before, \(table).\(name)::text AS value_after
          """,
          value
        ).first
      }
    } catch let error as PostgresError where ["22", "23"].contains(error.sqlState?.prefix(2) ?? "") {
      var message = "\(column) cannot be \(value ?? "NULL"): \(error)"
      if error.sqlState == "23514", let checks = definition?["checks"] { message += "; allowed: \(checks)" }
      if error.sqlState == "22P02", type.hasSuffix("[]"), let value, !value.contains(where: { "{}".contains($0) }) {
        message += "; write a list in braces: '\(column)={\(value)}'"
      }
      throw RunnerError(message)
    }
    guard let row, row["value_before"] != row["value_after"] else { return nil }
    return PolicyChange(column: column, old: row["value_before"], new: row["value_after"], origin: origin)
  }

  /// The health checks: check_name, ok, detail, remedy.
  public func health() throws -> QueryResult {
    try installed { try connection.query("SELECT check_name, ok, detail, remedy FROM \(names.qualified("health"))") }
  }

  /// The last runs, the newest first.
  public func lastRuns(_ count: Int = 10) throws -> QueryResult {
    try installed {
      try connection.query("SELECT * FROM \(names.qualified("cleanup_runs")) ORDER BY id DESC LIMIT \(count)")
    }
  }

  /// The metrics in Prometheus' text format.
  public func metrics() throws -> String {
    let rows = try installed {
      try connection.query("SELECT name, type, help, labels, value FROM \(names.qualified("metrics"))").rows
    }
    // The lines of one metric must stand together.
    var order: [String] = []
    var texts: [String: String] = [:]
    for row in rows {
      let name = try row.string("name")
      if texts[name] == nil {
        order.append(name)
        texts[name] = "# HELP \(name) \(try row.string("help"))\n# TYPE \(name) \(try row.string("type"))\n"
      }
      let labels = try row.string("labels")
      texts[name]? += "\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(try row.string("value"))\n"
    }
    return order.compactMap { texts[$0] }.joined()
  }

  /// Whether the files were applied here, as far as their last view tells.
  func isInstalled() throws -> Bool {
    try installed {
      try connection.query("SELECT to_regclass($1) IS NOT NULL AS found", names.qualified("health").quoted).first?
        .bool("found") == true
    }
  }

  /// What a refused call means for the person at the keyboard.
  func installed<Result>(_ call: () throws -> Result) throws -> Result {
    do {
      return try call()
    } catch let error as PostgresError {
      let state = error.sqlState ?? ""
      switch state {
      case "42P01", "42883", "3F000":
        throw RunnerError(
          "the retention is not installed in schema \(schema), or only in part: run jam-retention migrate up, or name its "
            + "schema with --schema (SQLSTATE \(state): \(error.message))"
        )
      case "25006":
        throw RunnerError(
          "the session is read-only or the server is a standby: connect to the primary; verify, status, doctor and "
            + "\(names.identifier("cleanup_preview").quoted)() work here too (SQLSTATE \(state): \(error.message))"
        )
      case "42501":
        throw RunnerError(
          "the role lacks a right: connect as the role that applied the migrations, or have it grant you one of those in "
            + "sql/optional/roles.sql (SQLSTATE \(state): \(error.message))"
        )
      default: throw error
      }
    }
  }
}
