import MigrationGenerator
import Postgres
import RetentionModel
import SafeSQL

/// Asks an installation for what the status page shows.
///
/// Everything comes from one snapshot of a read-only transaction, so a standby answers too, and a role that reads no
/// blob. What takes too long or fails is left out, and the page says so in its place.
public struct StatusReporter {
  /// How many runs are shown.
  static let runCount = 25
  /// How many blobs are shown, and how many unresolved references.
  static let blobCount = 10

  private let database: RetentionDatabase
  private let model: RetentionModel
  private let migrator: Migrator
  private let patience: Duration
  private let budget: Duration?

  private var connection: Connection { database.connection }
  private var names: ObjectNames { database.names }

  /// - Parameters:
  ///   - migrator: has the files that should be applied.
  ///   - patience: how long one question may take; the role's own `statement_timeout`, if it is shorter.
  ///   - budget: how long all of them may take; nil: as long as it takes.
  public init(
    database: RetentionDatabase,
    model: RetentionModel,
    migrator: Migrator,
    patience: Duration,
    budget: Duration? = nil
  ) {
    self.database = database
    self.model = model
    self.migrator = migrator
    self.patience = patience
    self.budget = budget
  }

  /// The installation as it is now.
  public func report() throws -> StatusReport {
    try connection.transaction {
      let interview = try Interview(database, patience: patience, budget: budget)
      let installation = try installation()
      let files = try interview.answer { try self.files(interview) }
      let checks = try interview.answer(isEssential: true) {
        try self.checks(interview, filesAreRecorded: files.value.map { $0 != nil } ?? true)
      }
      // What is quick comes before what may use up the time.
      let policy = try interview.answer { try self.policy(interview) }
      let storage = try interview.answer { try interview.ask(database.storage) }
      let backlog = try interview.answer { try self.backlog(interview) }
      let runs = try interview.answer { try self.runs(interview) }
      let history = try interview.answer { try self.history(interview) }
      let tableSpace = try interview.answer { try interview.ask(database.blobTableSpace) }
      let expiries = try interview.answer { try self.expiries(interview) }
      let largest = try interview.answer { try largestBlobs(interview) }
      let hashes = largest.value?.map(\.hash) ?? []
      return StatusReport(
        installation: installation,
        files: files,
        tableSpace: tableSpace,
        checks: checks,
        storage: storage,
        backlog: backlog,
        history: history,
        policy: policy,
        expiries: expiries,
        runs: runs,
        largest: largest,
        refcounts: try interview.answer { try refcounts(interview, of: hashes) },
        holders: try interview.answer { try holders(interview, of: hashes) }
      )
    }
  }

  private func first(_ result: QueryResult) throws -> Row {
    guard let row = result.first else { throw RunnerError("the server gave no answer") }
    return row
  }

  // MARK: Questions

  /// What no table and no lock is needed for.
  private func installation() throws -> StatusReport.Installation {
    let row = try first(
      connection.query(
        """
        SELECT extract(epoch FROM now()) AS generated_at, current_database() AS database, current_setting('server_version') AS version,
          pg_is_in_recovery() AS is_standby
        """
      )
    )
    return StatusReport.Installation(
      generatedAt: Moment(epoch: try row.double("generated_at")),
      database: try row.string("database"),
      objects: names,
      blobs: model.blobs,
      refcounting: model.refcounting,
      serverVersion: try row.string("version"),
      isStandby: try row.bool("is_standby")
    )
  }

  private func files(_ interview: Interview) throws -> StatusReport.Files? {
    let migrations = names.qualified("schema_migrations")
    let record = try interview.query(
      "SELECT coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false) AS is_readable",
      migrations.quoted
    )
    guard try first(record).bool("is_readable") else { return nil }
    let row = try first(
      interview.query("SELECT count(*) AS files, extract(epoch FROM max(applied_at)) AS last FROM \(migrations)")
    )
    return StatusReport.Files(count: try row.int("files"), last: try row.moment("last"))
  }

  /// Where the files were applied with `psql` alone there is no record to compare them with.
  private func checks(_ interview: Interview, filesAreRecorded: Bool) throws -> [HealthCheck] {
    let doctor = Doctor(database: database, migrator: migrator)
    return try (filesAreRecorded ? interview.ask(doctor.fileChecks) : []) + interview.ask(doctor.databaseChecks)
  }

  private func backlog(_ interview: Interview) throws -> StatusReport.Backlog {
    let row = try first(
      interview.query(
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
    let unresolved = try interview.query(
      "SELECT u.hash::text AS hash, u.refcount FROM \(names.qualified("unresolved_references")) AS u ORDER BY u.refcount DESC, u.hash LIMIT \(Self.blobCount)"
    )
    return StatusReport.Backlog(
      sizes: try interview.ask(database.backlog),
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

  private func history(_ interview: Interview) throws -> [StatusReport.StoragePoint] {
    try interview.query(
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

  private func policy(_ interview: Interview) throws -> [StatusReport.Setting] {
    let row = try interview.ask(database.policy)
    return row.columns.filter { $0 != "only_row" }.map { StatusReport.Setting(name: $0, value: row[$0]) }
  }

  private func expiries(_ interview: Interview) throws -> [StatusReport.Expiry] {
    try interview.query(
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

  private func runs(_ interview: Interview) throws -> StatusReport.Runs {
    let table = names.qualified("cleanup_runs")
    let rows = try interview.query(
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
      total: try first(interview.query("SELECT count(*) AS total FROM \(table)")).int("total")
    )
  }

  /// Reads the sizes of all blobs, but none of the contents: those are stored apart.
  private func largestBlobs(_ interview: Interview) throws -> [StatusReport.Blob] {
    try interview.query(
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

  private func refcounts(_ interview: Interview, of hashes: [String]) throws -> [String: Int] {
    guard !hashes.isEmpty else { return [:] }
    let rows = try interview.query(
      """
      SELECT c.hash::text AS hash, c.refcount FROM \(names.qualified("\(database.blobs.singular)_refcounts")) AS c
      WHERE c.hash = ANY ($1::\(keyType)[])
      """,
      hashes
    ).rows
    return try Dictionary(rows.map { (try $0.string("hash"), try $0.int("refcount")) }) { $1 }
  }

  /// One pass over the referring tables for all of the hashes.
  private func holders(_ interview: Interview, of hashes: [String]) throws -> [StatusReport.Holder] {
    guard !hashes.isEmpty else { return [] }
    return try interview.query(
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

  private var keyType: SQL { model.hasBinaryKey ? "bytea" : "text" }
}

extension Row {
  /// The moment in a column that holds the seconds since 1970; nil for NULL.
  fileprivate func moment(_ name: String) throws -> Moment? {
    try optionalDouble(name).map { Moment(epoch: $0) }
  }
}
