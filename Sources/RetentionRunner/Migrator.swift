import Foundation
import Logging
import MigrationGenerator
import Postgres
import RetentionModel
import SafeSQL

/// Applies the files of `sql/` and records them in `jam_schema_migrations`.
public struct Migrator: Sendable {
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
  private let preconditions: MigrationPreconditions
  private let logger: Logger

  private var table: QualifiedName { names.qualified("schema_migrations") }
  private var reader: Identifier { names.identifier("reader") }

  /// - Parameter files: the files; those in subfolders are optional and left out.
  /// - Throws: ``RunnerError`` when a file's header cannot be read.
  public init(files: [MigrationFile], model: RetentionModel, connection: Connection, logger: Logger) throws {
    migrations = try files.filter { !$0.path.contains("/") }.sorted { $0.path < $1.path }.map { try Migration($0) }
    let names = ObjectNames(model)
    self.names = names
    preconditions = MigrationPreconditions(
      connection: connection,
      names: names,
      tables: MigrationGenerator.tables(of: model)
    )
    self.connection = connection
    self.logger = logger
  }

  /// Every file with its state, in the order in which they are applied.
  ///
  /// - Throws: ``RunnerError`` when the role may not read the record: it names the role of `optional/roles.sql` that may,
  ///   since whoever looks needs no more.
  public func plan() throws -> [(migration: Migration, state: State)] {
    do {
      return try states()
    } catch let error as PostgresError where error.sqlState == "42501" {
      let role = Identifier(try connection.query("SELECT current_user::text AS role").first?.string("role") ?? "")
      throw RunnerError(
        "role \(role.quoted) may not read \(table.quoted): GRANT \(reader.quoted) TO \(role.quoted), a role of "
          + "sql/optional/roles.sql (SQLSTATE 42501: \(error.message))"
      )
    }
  }

  private func states() throws -> [(migration: Migration, state: State)] {
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

  /// Whether there is a record that the role may read. Where the files were applied with `psql` alone there is none, and
  /// ``plan()`` cannot tell what is applied.
  func isRecorded() throws -> Bool {
    let isReadable = try connection.query(
      "SELECT coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false) AS found",
      table.quoted
    ).first?.bool("found")
    guard isReadable == true else { return false }
    return try connection.query("SELECT EXISTS (SELECT FROM \(table)) AS found").first?.bool("found") == true
  }

  /// Applies what is pending or outdated and returns the names. The session's settings are what they were, afterwards.
  ///
  /// - Throws: ``RunnerError`` before anything is changed when the server cannot take the migrations, the role lacks a
  ///   right, or a versioned file was changed; and when a file fails: it leaves nothing behind, those before it stay
  ///   recorded. `PostgresError` when the connection is lost.
  public func up() throws -> [String] {
    try preconditions.checkServer()
    // Most calls find nothing to do and must not wait for another installer.
    do {
      guard try refuseChanged(states()).contains(where: { $0.state != .current }) else { return [] }
    } catch let error as PostgresError where error.sqlState == "42501" {
      try preconditions.checkRights()
      throw error
    }
    try preconditions.checkRights()
    return try withSettings {
      try withInstallerLock {
        try createTable()
        var done: [String] = []
        for (migration, state) in try refuseChanged(states()) where state != .current {
          try applyWithRetries(migration)
          logger.info("migration applied", metadata: ["file": "\(migration.name)"])
          done.append(migration.name)
        }
        return done
      }
    }
  }

  private func withSettings<Result>(_ body: () throws -> Result) throws -> Result {
    let settings = [
      "client_min_messages": "warning", "lock_timeout": "\(lockTimeoutMilliseconds)ms",
      // The backfill needs it, whatever the role's default is.
      "default_transaction_isolation": "read committed",
    ]
    let before = try settings.map { name, value in
      let row = try connection.query(
        "SELECT current_setting($1) AS before, set_config($1, $2, false)",
        name,
        value
      ).first
      return (name, try row?.string("before"))
    }
    defer {
      for (name, value) in before { _ = try? connection.query("SELECT set_config($1, $2, false)", name, value) }
    }
    return try body()
  }

  /// Runs the body while no other installer is at work in this schema.
  private func withInstallerLock<Result>(_ body: () throws -> Result) throws -> Result {
    let key = names.installerLock
    // Asked again and again: a statement that waits for the lock holds a snapshot, and CREATE INDEX CONCURRENTLY of the
    // installer that has it would wait for that in turn.
    var attempts = 0
    while try connection.query("SELECT pg_try_advisory_lock(\(key)) AS taken").first?.bool("taken") != true {
      if attempts == 0 { logger.info("waiting for another installer") }
      attempts += 1
      Thread.sleep(forTimeInterval: 0.05)
    }
    defer {
      // A file without a transaction takes the lock once more, and keeps it if it fails.
      let release: SQL = """
        SELECT pg_advisory_unlock(\(key)) FROM pg_locks
        WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid = 1
          AND (classid::bigint << 32) | objid::bigint = \(key)
        """
      while let rows = try? connection.query(release).rows, !rows.isEmpty {}
    }
    return try body()
  }

  private func createTable() throws {
    if try connection.query("SELECT to_regnamespace($1) IS NULL AS missing", names.schema.quoted).first?
      .bool("missing") == true
    {
      // IF NOT EXISTS would ask for the right to create schemas even where the schema is there.
      try connection.execute("CREATE SCHEMA \(names.schema)")
    }
    try connection.execute(
      """
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
    try grantRecord()
  }

  /// Lets the reader of `optional/roles.sql` read the record where that file was applied before there was one.
  private func grantRecord() throws {
    let isReader =
      try connection.query(
        """
        SELECT has_table_privilege(r.oid, to_regclass($2), 'SELECT') AND NOT has_table_privilege(r.oid, $3::regclass, 'SELECT') AS found
        FROM pg_roles AS r WHERE r.rolname = $1
        """,
        reader.name,
        names.qualified("cleanup_runs").quoted,
        table.quoted
      ).first?.optionalBool("found") == true
    if isReader { try connection.execute("GRANT SELECT ON \(table) TO \(reader)") }
  }

  private func refuseChanged(_ plan: [(migration: Migration, state: State)]) throws -> [(
    migration: Migration, state: State
  )] {
    if let changed = plan.first(where: { $0.state == .changed }) {
      throw RunnerError(
        "\(changed.migration.name) was changed after it was applied; restore the released file and put the change into a new one; "
          + "or, where the model has other tables or classes now, replace the installation: uninstall/uninstall.sql of the old "
          + "model, then migrate up (README, \"Changing the model\", says what is lost)"
      )
    }
    return plan
  }

  private func appliedChecksums() throws -> [String: String] {
    let exists = try connection.query("SELECT to_regclass($1) IS NOT NULL AS found", table.quoted)
    guard try exists.first?.bool("found") == true else { return [:] }
    let rows = try connection.query("SELECT name, checksum FROM \(table)").rows
    return try Dictionary(rows.map { (try $0.string("name"), try $0.string("checksum")) }) { $1 }
  }

  private func applyWithRetries(_ migration: Migration) throws {
    var blockers = ""
    for attempt in 1... {
      do {
        // Most files need one attempt, and no second connection.
        guard attempt > 1 else { return try apply(migration) }
        let interval = min(0.1, Double(lockTimeoutMilliseconds) / 20_000)
        let attempted = LockWatch.watching(connection, every: interval) { try apply(migration) }
        blockers = attempted.blockers
        return try attempted.result.get()
      } catch let error as PostgresError where ["55P03", "40P01"].contains(error.sqlState) {
        guard attempt < maximumAttempts else {
          throw RunnerError(
            "\(migration.name): a lock that another transaction holds did not come free in \(attempt) attempts "
              + "(SQLSTATE \(error.sqlState ?? "")); \(blockers)end that transaction and run migrate up again"
          )
        }
        logger.warning(
          "lock not available",
          metadata: ["file": "\(migration.name)", "attempt": .stringConvertible(attempt)]
        )
        Thread.sleep(forTimeInterval: 0.1 * Double(1 << attempt))
      } catch let error as PostgresError where error.kind == .connection {
        throw RunnerError("\(migration.name) was interrupted: \(error); run migrate up again")
      } catch let error as PostgresError {
        let rest = migration.isTransactional ? "left nothing behind" : "did not come to its end"
        throw RunnerError("\(migration.name) failed and \(rest): \(error)")
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
