import EmbeddedPostgres
import Foundation
import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

@Suite struct RefusalTests {
  /// The text of the error that the migrator ends with.
  private func refusal(_ migrator: Migrator) throws -> String {
    try #require(throws: RunnerError.self) { try migrator.up() }.description
  }

  /// A role that is made for one test; it is the whole server's.
  private func role(_ database: TestDatabase) throws -> Identifier {
    let role = Identifier("r\(database.name.dropFirst())")
    try database.connection.execute("CREATE ROLE \(role) LOGIN")
    return role
  }

  @Test("A server that refuses the password says so, and nobody repeats the password")
  func password() throws {
    let server = try EmbeddedPostgres.start(authentication: ["local all guarded scram-sha-256"])
    defer { server.stop() }
    try Connection(ConnectionString(server.connectionString)).execute("CREATE ROLE guarded LOGIN PASSWORD 'right-one'")
    let target = "host=\(server.socketDirectory) dbname=postgres user=guarded"
    let error = try #require(throws: PostgresError.self) {
      try Connection(ConnectionString("\(target) password=wrong-one"))
    }
    #expect(error.kind == .connection)
    #expect(error.description.contains("password authentication failed for user \"guarded\""))
    #expect(!error.debugDescription.contains("wrong-one"))
    _ = try Connection(ConnectionString("\(target) password=right-one"))
  }

  @Test("A role that may not call the cleanup is told which right it lacks")
  func noRightToCall() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let role = try role(database)
    let session = try database.connect("user=\(role.quoted)")
    let retention = RetentionDatabase(connection: session, model: database.model, logger: TestDatabase.logger)
    let error = try #require(throws: RunnerError.self) { try retention.cleanup() }
    #expect(error.description.contains("SQLSTATE 42501: permission denied for procedure jam_cleanup"))
    try database.connection.execute("DROP ROLE \(role)")
  }

  @Test("A read-only session is refused before anything is changed")
  func readOnly() throws {
    let database = try TestDatabase()
    let session = try database.connect("options='-c default_transaction_read_only=on'")
    #expect(try refusal(database.migrator(on: session)).contains("read-only"))
    _ = try database.migrate()
    let retention = RetentionDatabase(connection: session, model: database.model, logger: TestDatabase.logger)
    let error = try #require(throws: RunnerError.self) { try retention.cleanup() }
    #expect(error.description.contains("read-only") && error.description.contains("25006"))
    #expect(try retention.verify().rows.isEmpty)
  }

  @Test("A standby is not migrated or cleaned, but previewed and verified")
  func standby() throws {
    let primary = try EmbeddedPostgres.start()
    defer { primary.stop() }
    let connection = try Connection(ConnectionString(primary.connectionString))
    let files = MigrationGenerator.files(for: .jam)
    _ = try Migrator(files: files, model: .jam, connection: connection, logger: TestDatabase.logger).up()
    try connection.execute(
      "INSERT INTO jam_preimages (hash, size, created_at) VALUES (repeat('a', 64), 7, now() - interval '60 days')"
    )

    let standby = try primary.standby()
    defer { standby.stop() }
    let session = try Connection(ConnectionString(standby.connectionString))
    let text = try refusal(Migrator(files: files, model: .jam, connection: session, logger: TestDatabase.logger))
    #expect(text.contains("standby"))
    let retention = RetentionDatabase(connection: session, model: .jam, logger: TestDatabase.logger)
    let error = try #require(throws: RunnerError.self) { try retention.cleanup(dryRun: true) }
    #expect(error.description.contains("standby") && error.description.contains("jam_cleanup_preview()"))
    let preview = try retention.preview().rows
    #expect(preview.first { $0["data_class"] == "preimages" }?["rows"] == "1")
    #expect(try retention.verify().rows.isEmpty)
    #expect(try session.query("SELECT * FROM jam_verify_refcounts()").rows.isEmpty)
    #expect(try retention.health().rows.count == 6)
  }

  @Test("A role without the right to create is told which right it lacks", arguments: [true, false])
  func noRightToCreate(schemaExists: Bool) throws {
    let database = try TestDatabase(schema: "app")
    if schemaExists { try database.connection.execute("CREATE SCHEMA app") }
    let role = try role(database)
    let session = try database.connect("user=\(role.quoted)")
    let grant: SQL =
      schemaExists
      ? "GRANT USAGE, CREATE ON SCHEMA \"app\" TO \(role)"
      : "GRANT CREATE ON DATABASE \(Identifier(database.name)) TO \(role)"
    #expect(try refusal(database.migrator(on: session)).contains("lacks a right: \(grant.text), "))

    // What the error says to do is all that is missing.
    try database.connection.execute(grant)
    _ = try database.migrator(on: session).up()
    let retention = RetentionDatabase(connection: session, model: database.model, logger: TestDatabase.logger)
    try session.execute(
      """
      SET search_path = app;
      INSERT INTO jam_preimages (hash, size, created_at) VALUES (repeat('a', 64), 7, now() - interval '60 days');
      """
    )
    #expect(try retention.cleanup()["deleted_preimages"] == "1")
    try database.connection.execute("DROP OWNED BY \(role); DROP ROLE \(role)")
  }

  @Test("A table of another owner is named, with the owner, before anything is changed")
  func otherOwner() throws {
    let database = try TestDatabase()
    try database.createTables()
    let role = try role(database)
    try database.connection.execute("GRANT CREATE, USAGE ON SCHEMA public TO \(role)")
    let session = try database.connect("user=\(role.quoted)")
    let text = try refusal(database.migrator(on: session))
    #expect(text.contains("jam_services belongs to \"postgres\"") && text.contains("GRANT \"postgres\" TO"))
    #expect(try database.int("SELECT count(*) FROM pg_class WHERE relname = 'jam_schema_migrations'") == 0)

    _ = try database.migrate()
    #expect(try refusal(database.migrator(on: session)).contains("jam_schema_migrations belongs to \"postgres\""))
    try database.connection.execute("DROP OWNED BY \(role); DROP ROLE \(role)")
  }

  @Test("A lock that an application holds: retries, then an error that names the holder; works once it is released")
  func lockHeld() throws {
    let database = try TestDatabase()
    try database.createTables()
    let holder = try database.connect("application_name=submitter")
    try holder.execute("BEGIN; LOCK TABLE jam_work_packages IN ROW EXCLUSIVE MODE")
    var migrator = try database.migrator()
    migrator.lockTimeoutMilliseconds = 20
    migrator.maximumAttempts = 2
    let text = try refusal(migrator)
    #expect(text.contains("in 2 attempts") && text.contains("55P03"))
    #expect(text.contains("process \(holder.processID) (submitter) has jam_work_packages locked"))
    try holder.execute("ROLLBACK")
    _ = try migrator.up()
    #expect(try migrator.plan().allSatisfy { $0.state == .current })
    try database.expectLaw()
  }

  @Test("The migrator leaves the session's settings as they were", arguments: [true, false])
  func settings(succeeds: Bool) throws {
    let database = try TestDatabase()
    try database.connection.execute("SET lock_timeout = '7s'; SET client_min_messages = error")
    if succeeds {
      _ = try database.migrate()
    } else {
      try database.connection.execute("CREATE TABLE jam_preimages (hash text PRIMARY KEY)")
      #expect(throws: RunnerError.self) { try database.migrate() }
    }
    #expect(try database.connection.query("SHOW lock_timeout").first?["lock_timeout"] == "7s")
    #expect(try database.connection.query("SHOW client_min_messages").first?["client_min_messages"] == "error")
    #expect(
      try database.int("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == 0
    )
  }

  @Test("Where nothing is installed, every call says what to do")
  func notInstalled() throws {
    let retention = try TestDatabase().retention
    let calls: [() throws -> Void] = [
      { _ = try retention.cleanup() }, { _ = try retention.preview() }, { _ = try retention.verify() },
      { _ = try retention.repair() }, { _ = try retention.policy() },
      { _ = try retention.setPolicy("dry_run", to: "t") },
      { _ = try retention.lastRuns() }, { _ = try retention.metrics() },
    ]
    for call in calls {
      let error = try #require(throws: RunnerError.self) { try call() }
      #expect(error.description.contains("not installed") && error.description.contains("migrate up"))
      #expect(error.description.contains("SQLSTATE 42"))
    }
  }
}
