import Foundation
import Logging
import MigrationGenerator
import Postgres
import RetentionModel
import SafeSQL

/// Applies the files of `sql/` and records them in `jam_schema_migrations`.
public struct Migrator {
  /// What is to be done with one file.
  public enum State: String, Sendable {
    case pending
    case current
    /// A repeatable file whose text has changed since it was applied.
    case outdated
    /// A versioned file whose text has changed since it was applied: an error.
    case changed
  }

  /// How long a statement waits for a lock before the file is tried again.
  public var lockTimeoutMilliseconds = 3000
  /// How often a file is tried that cannot get its locks.
  public var maximumAttempts = 5

  private let connection: Connection
  private let migrations: [Migration]
  private let names: ObjectNames
  private let logger: Logger

  private var table: QualifiedName { names.qualified("schema_migrations") }

  /// - Parameter files: the files; those in subfolders are optional and left out.
  /// - Throws: ``RunnerError`` when a file's header cannot be read.
  public init(files: [MigrationFile], model: RetentionModel, connection: Connection, logger: Logger) throws {
    migrations = try files.filter { !$0.path.contains("/") }.sorted { $0.path < $1.path }.map { try Migration($0) }
    names = ObjectNames(model)
    self.connection = connection
    self.logger = logger
  }

  /// Every file with its state, in the order in which they are applied.
  public func plan() throws -> [(migration: Migration, state: State)] {
    let applied = try appliedChecksums()
    return migrations.map { migration in
      let state: State =
        switch applied[migration.name] {
        case nil: .pending
        case migration.checksum: .current
        default: migration.kind == .versioned ? .changed : .outdated
        }
      return (migration, state)
    }
  }

  /// Applies what is pending or outdated and returns the names.
  ///
  /// - Throws: ``RunnerError`` before anything is changed when the server cannot take the migrations or a versioned file was
  ///   changed; `PostgresError` when a file fails. The files before it stay recorded.
  public func up() throws -> [String] {
    // Most calls find nothing to do and must not wait for another installer.
    guard try refuseChanged(plan()).contains(where: { $0.state != .current }) else { return [] }
    try checkServer()
    let lock = FNV1a.hash("migrations of \(names.schema.name)")
    _ = try connection.query("SELECT pg_advisory_lock(\(Int64(bitPattern: lock)))")
    defer { _ = try? connection.query("SELECT pg_advisory_unlock(\(Int64(bitPattern: lock)))") }
    try connection.execute(
      """
      SET client_min_messages = warning;
      SET lock_timeout = \(lockTimeoutMilliseconds);
      CREATE SCHEMA IF NOT EXISTS \(names.schema);
      CREATE TABLE IF NOT EXISTS \(table) (
        name       text PRIMARY KEY,
        checksum   text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now(),
        duration   interval,
        applied_by text NOT NULL DEFAULT session_user
      );
      COMMENT ON TABLE \(table) IS 'The files that have been applied, with the checksum of what was applied.';
      """
    )
    var done: [String] = []
    for (migration, state) in try refuseChanged(plan()) where state != .current {
      try applyWithRetries(migration)
      logger.info("migration applied", metadata: ["file": "\(migration.name)"])
      done.append(migration.name)
    }
    return done
  }

  private func refuseChanged(_ plan: [(migration: Migration, state: State)]) throws -> [(
    migration: Migration, state: State
  )] {
    if let changed = plan.first(where: { $0.state == .changed }) {
      throw RunnerError(
        "\(changed.migration.name) was changed after it was applied; restore the released file and put the change into a new one"
      )
    }
    return plan
  }

  private func checkServer() throws {
    guard connection.serverVersion >= 140_000 else {
      throw RunnerError(
        "the server is PostgreSQL \(connection.serverVersion / 10000); 14 is the oldest that is supported"
      )
    }
    let facts = try connection.query(
      """
      SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only')::bool AS read_only,
        coalesce(has_schema_privilege(to_regnamespace($1)::oid, 'CREATE'), has_database_privilege(current_database(), 'CREATE')) AS may_create,
        to_regnamespace($1) IS NULL AS missing, current_user::text AS role
      """,
      names.schema.quoted
    )
    guard let row = facts.first else { return }
    if try row.bool("standby") { throw RunnerError("the server is a standby; connect to the primary to migrate") }
    if try row.bool("read_only") {
      throw RunnerError("the session is read-only; unset default_transaction_read_only to migrate")
    }
    if try !row.bool("may_create") {
      let object: SQL = try row.bool("missing") ? "DATABASE" : "SCHEMA \(names.schema)"
      throw RunnerError(
        "role \(try row.string("role")) lacks a right: GRANT CREATE ON \(object) TO it, or migrate as the owner"
      )
    }
  }

  private func appliedChecksums() throws -> [String: String] {
    let exists = try connection.query("SELECT to_regclass($1) IS NOT NULL AS found", table.quoted)
    guard try exists.first?.bool("found") == true else { return [:] }
    let rows = try connection.query("SELECT name, checksum FROM \(table)").rows
    return try Dictionary(rows.map { (try $0.string("name"), try $0.string("checksum")) }) { $1 }
  }

  private func applyWithRetries(_ migration: Migration) throws {
    for attempt in 1... {
      do {
        return try apply(migration)
      } catch let error as PostgresError where ["55P03", "40P01"].contains(error.sqlState) {
        guard attempt < maximumAttempts else {
          throw RunnerError(
            "\(migration.name): a lock that another transaction holds did not come free in \(attempt) attempts "
              + "(SQLSTATE \(error.sqlState ?? "")); end that transaction and run migrate up again"
          )
        }
        logger.warning(
          "lock not available",
          metadata: ["file": "\(migration.name)", "attempt": .stringConvertible(attempt)]
        )
        Thread.sleep(forTimeInterval: 0.1 * Double(1 << attempt))
      } catch let error as PostgresError {
        throw RunnerError("\(migration.name) failed and left nothing behind: \(error)")
      }
    }
  }

  private func apply(_ migration: Migration) throws {
    let start = Date()
    if migration.isTransactional {
      try connection.transaction {
        // First, so that a second installer without our lock fails on it before it changes anything.
        try record(migration)
        for script in migration.scripts { try connection.execute("\(raw: script)") }
        try recordDuration(of: migration, since: start)
      }
    } else {
      for script in migration.scripts { try connection.execute("\(raw: script)") }
      try record(migration)
      try recordDuration(of: migration, since: start)
    }
  }

  private func record(_ migration: Migration) throws {
    _ = try connection.query(
      """
      INSERT INTO \(table) (name, checksum) VALUES ($1, $2)
      ON CONFLICT (name) DO UPDATE SET checksum = EXCLUDED.checksum, applied_at = now(), applied_by = session_user
      """,
      migration.name,
      migration.checksum
    )
  }

  private func recordDuration(of migration: Migration, since start: Date) throws {
    _ = try connection.query(
      "UPDATE \(table) SET duration = make_interval(secs => $2::double precision) WHERE name = $1",
      migration.name,
      Date().timeIntervalSince(start)
    )
  }
}
