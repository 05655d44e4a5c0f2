import MigrationGenerator
import Postgres
import RetentionModel
import SafeSQL

/// Asks an installation for what the status page shows.
///
/// Everything comes from one snapshot of a read-only transaction, so a standby answers too, and a role that reads no
/// blob. What takes longer than the patience is given up and left out.
public struct StatusReporter {
  /// How many runs are shown.
  static let runCount = 25
  /// How many blobs are shown, and how many unresolved references.
  static let blobCount = 10

  private let database: RetentionDatabase
  private let model: RetentionModel
  private let migrator: Migrator
  private let patience: Duration

  private var connection: Connection { database.connection }
  private var names: ObjectNames { database.names }

  /// - Parameters:
  ///   - migrator: has the files that should be applied.
  ///   - patience: how long one question may take; the role's own `statement_timeout`, if it is shorter.
  public init(database: RetentionDatabase, model: RetentionModel, migrator: Migrator, patience: Duration) {
    self.database = database
    self.model = model
    self.migrator = migrator
    self.patience = patience
  }

  /// The installation as it is now.
  public func report() throws -> StatusReport {
    try database.installed {
      try connection.transaction {
        try begin()
        let installation = try installation()
        let largest = try answer(largestBlobs)
        let hashes = largest.value?.map(\.hash) ?? []
        return StatusReport(
          installation: installation,
          checks: try answer { try checks(filesAreRecorded: installation.files != nil) },
          backlog: try answer(backlog),
          history: try answer(history),
          policy: try policy(),
          expiries: try answer(expiries),
          runs: try answer(runs),
          largest: largest,
          refcounts: try answer { try refcounts(of: hashes) },
          holders: try answer { try holders(of: hashes) }
        )
      }
    }
  }

  private func begin() throws {
    try connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    // To compile a statement takes longer than most of these; times within texts are in the page's own zone.
    try connection.execute("SET LOCAL jit = off; SET LOCAL timezone = 'UTC'")
    _ = try connection.query(
      """
      SELECT set_config('statement_timeout', least(coalesce(nullif(s.setting::bigint, 0), $1::bigint), $1::bigint)::text, true)
      FROM pg_settings AS s WHERE s.name = 'statement_timeout'
      """,
      max(1, Int(patience / .milliseconds(1)))
    )
  }

  /// Asks within a savepoint, so that the transaction outlives a question that the server gives up.
  private func answer<Value>(_ question: () throws -> Value) throws -> StatusReport.Answer<Value> {
    try connection.execute("SAVEPOINT jam_question")
    do {
      let value = try question()
      try connection.execute("RELEASE SAVEPOINT jam_question")
      return .found(value)
    } catch let error as PostgresError where error.kind == .server && error.sqlState == "57014" {
      // After an interruption this fails, too, and so does the report.
      try connection.execute("ROLLBACK TO SAVEPOINT jam_question; RELEASE SAVEPOINT jam_question")
      return .tookTooLong
    }
  }

  private func first(_ result: QueryResult) throws -> Row {
    guard let row = result.first else { throw RunnerError("the server gave no answer") }
    return row
  }

  // MARK: Questions

  private func installation() throws -> StatusReport.Installation {
    let migrations = names.qualified("schema_migrations")
    let row = try first(
      connection.query(
        """
        SELECT extract(epoch FROM now()) AS generated_at, current_database() AS database, current_setting('server_version') AS version,
          pg_is_in_recovery() AS is_standby, coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false) AS has_record
        """,
        migrations.quoted
      )
    )
    let record =
      try row.bool("has_record")
      ? first(
        connection.query("SELECT count(*) AS files, extract(epoch FROM max(applied_at)) AS last FROM \(migrations)")
      ) : nil
    return StatusReport.Installation(
      generatedAt: Moment(epoch: try row.double("generated_at")),
      database: try row.string("database"),
      objects: names,
      refcounting: model.refcounting,
      serverVersion: try row.string("version"),
      isStandby: try row.bool("is_standby"),
      files: try record.map { (try $0.int("files"), try $0.moment("last")) },
      tableSpace: try database.blobTableSpace()
    )
  }

  /// Where the files were applied with `psql` alone there is no record to compare them with.
  private func checks(filesAreRecorded: Bool) throws -> [HealthCheck] {
    let doctor = Doctor(database: database, migrator: migrator)
    return try (filesAreRecorded ? doctor.fileChecks() : []) + doctor.databaseChecks()
  }

  private func backlog() throws -> StatusReport.Backlog {
    let row = try first(
      connection.query(
        """
        SELECT (SELECT count(*) FROM \(names.qualified("unresolved_references"))) AS unresolved,
          (SELECT extract(epoch FROM min(d.queued_at)) FROM \(names.qualified("blob_deletions")) AS d) AS oldest_deletion,
          (SELECT d.last_error FROM \(names.qualified("blob_deletions")) AS d WHERE d.last_error IS NOT NULL
            ORDER BY d.next_attempt_at DESC LIMIT 1) AS deletion_error,
          (SELECT count(*) FROM \(names.qualified("refcount_anomalies"))) AS anomalies,
          (SELECT extract(epoch FROM max(a.recorded_at)) FROM \(names.qualified("refcount_anomalies")) AS a) AS last_anomaly
        """
      )
    )
    let unresolved = try connection.query(
      "SELECT u.hash::text AS hash, u.refcount FROM \(names.qualified("unresolved_references")) AS u ORDER BY u.refcount DESC, u.hash LIMIT \(Self.blobCount)"
    )
    return StatusReport.Backlog(
      sizes: try database.sizes(),
      storage: try connection.query(
        "SELECT s.storage_class, s.blobs, s.bytes FROM \(names.qualified("storage")) AS s ORDER BY s.storage_class"
      ).rows.map {
        DatabaseSizes.Storage(
          storageClass: try $0.string("storage_class"),
          rows: try $0.int("blobs"),
          bytes: try $0.int("bytes")
        )
      },
      unresolvedHashes: try row.int("unresolved"),
      unresolved: try unresolved.rows.map {
        StatusReport.Unresolved(hash: try $0.string("hash"), references: try $0.int("refcount"))
      },
      oldestDeletion: try row.moment("oldest_deletion"),
      lastDeletionError: try row.optionalString("deletion_error"),
      anomalies: try row.int("anomalies"),
      lastAnomaly: try row.moment("last_anomaly")
    )
  }

  private func history() throws -> [StatusReport.StoragePoint] {
    try connection.query(
      """
      SELECT extract(epoch FROM h.recorded_at) AS recorded_at, h.storage_class, h.blobs, h.bytes
      FROM \(names.qualified("storage_history")) AS h
      ORDER BY h.recorded_at, h.storage_class
      """
    ).rows.map { row in
      StatusReport.StoragePoint(
        recordedAt: Moment(epoch: try row.double("recorded_at")),
        storageClass: try row.string("storage_class"),
        blobs: try row.int("blobs"),
        bytes: try row.int("bytes")
      )
    }
  }

  private func policy() throws -> [StatusReport.Setting] {
    let row = try database.policy()
    return row.columns.filter { $0 != "only_row" }.map { StatusReport.Setting(name: $0, value: row[$0]) }
  }

  private func expiries() throws -> [StatusReport.Expiry] {
    try connection.query(
      """
      SELECT p.data_class, p.rows, p.bytes, extract(epoch FROM p.oldest) AS oldest, extract(epoch FROM p.newest) AS newest
      FROM \(names.qualified("cleanup_preview"))() AS p
      """
    ).rows.map { row in
      StatusReport.Expiry(
        dataClass: try row.string("data_class"),
        rows: try row.int("rows"),
        bytes: try row.int("bytes"),
        oldest: try row.moment("oldest"),
        newest: try row.moment("newest")
      )
    }
  }

  private func runs() throws -> StatusReport.Runs {
    let table = names.qualified("cleanup_runs")
    let rows = try connection.query(
      """
      SELECT r.*, extract(epoch FROM r.started_at) AS started_epoch, extract(epoch FROM r.finished_at) AS finished_epoch,
        extract(epoch FROM r.cutoff) AS cutoff_epoch
      FROM \(table) AS r ORDER BY r.id DESC LIMIT \(Self.runCount)
      """
    )
    let deleted = rows.columns.filter { $0.hasPrefix("deleted_") }
    return StatusReport.Runs(
      last: try rows.rows.map { row in
        StatusReport.Run(
          id: try row.int("id"),
          startedAt: Moment(epoch: try row.double("started_epoch")),
          finishedAt: try row.moment("finished_epoch"),
          cutoff: try row.moment("cutoff_epoch"),
          isDryRun: try row.bool("dry_run"),
          status: try row.string("status"),
          deleted: try deleted.map { (String($0.dropFirst("deleted_".count)), try row.int($0)) },
          freedBytes: try row.int("freed_bytes"),
          archivedBytes: try row.int("archived_bytes"),
          busy: Figure.sum([try row.int("busy_rows"), try row.int("busy_\(database.blobs.plural)")]),
          error: try row.optionalString("error")
        )
      },
      total: try first(connection.query("SELECT count(*) AS total FROM \(table)")).int("total")
    )
  }

  /// Reads the sizes of all blobs, but none of the contents: those are stored apart.
  private func largestBlobs() throws -> [StatusReport.Blob] {
    try connection.query(
      """
      SELECT b.hash::text AS hash, b.size, b.media_type, b.storage_class, extract(epoch FROM b.created_at) AS created_at
      FROM \(names.qualified("blob_locations")) AS b
      ORDER BY b.size DESC NULLS LAST LIMIT \(Self.blobCount)
      """
    ).rows.map { row in
      StatusReport.Blob(
        hash: try row.string("hash"),
        size: try row.optionalInt("size") ?? 0,
        mediaType: try row.optionalString("media_type") ?? "",
        storageClass: try row.string("storage_class"),
        createdAt: try row.moment("created_at")
      )
    }
  }

  private func refcounts(of hashes: [String]) throws -> [String: Int] {
    let rows = try connection.query(
      """
      SELECT c.hash::text AS hash, c.refcount FROM \(names.qualified("\(database.blobs.singular)_refcounts")) AS c
      WHERE c.hash = ANY ($1::\(keyType)[])
      """,
      hashes
    ).rows
    return try Dictionary(rows.map { (try $0.string("hash"), try $0.int("refcount")) }) { $1 }
  }

  /// One pass over the referring tables for all of the hashes.
  private func holders(of hashes: [String]) throws -> [StatusReport.Holder] {
    guard !hashes.isEmpty else { return [] }
    return try connection.query(
      """
      SELECT r.hash::text AS hash, r.table_name, r.column_name, count(*) AS "references", min(r.row_id) AS row_id
      FROM \(names.qualified("references")) AS r
      WHERE r.hash = ANY ($1::\(keyType)[])
      GROUP BY r.hash, r.table_name, r.column_name
      ORDER BY count(*) DESC, r.table_name, r.column_name
      """,
      hashes
    ).rows.map { row in
      StatusReport.Holder(
        hash: try row.string("hash"),
        table: try row.string("table_name"),
        column: try row.string("column_name"),
        references: try row.int("references"),
        row: try row.optionalString("row_id") ?? ""
      )
    }
  }

  private var keyType: SQL {
    let table = model.tables.first { $0.name == model.blobs.table }
    return table?.columns.first { $0.name == model.blobs.key }?.type == "bytea" ? "bytea" : "text"
  }
}

extension Row {
  /// The moment in a column that holds the seconds since 1970; nil for NULL.
  fileprivate func moment(_ name: String) throws -> Moment? {
    try optionalDouble(name).map { Moment(epoch: $0) }
  }
}
