import EmbeddedPostgres
import Foundation
import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// `optional/pg_cron.sql` with the real extension.
@Suite struct PgCronTests {
  private static func isAvailable() throws -> Bool {
    try TestDatabase().int("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_cron'") == 1
  }

  /// How pg_cron reaches the database.
  enum Worker: String, CaseIterable { case connection, background }

  /// A server with pg_cron in its database `postgres`.
  private func withServer(_ worker: Worker, _ body: (EmbeddedPostgres) throws -> Void) throws {
    let server = try EmbeddedPostgres.start(
      settings: [
        "shared_preload_libraries": "pg_cron", "cron.use_background_workers": worker == .background ? "on" : "off",
        "max_worker_processes": "20",
      ]
    )
    defer { server.stop() }
    let connection = try Connection(ConnectionString(server.connectionString))
    try connection.execute("ALTER SYSTEM SET cron.host = \(literal: server.socketDirectory)")
    connection.close()
    try server.restart()
    try body(server)
  }

  private func text(_ path: String) throws -> SQL {
    let file = try #require(MigrationGenerator.files(for: .jam).first { $0.path == path })
    return "\(raw: file.text)"
  }

  @Test(
    "Two installations whose names are too long to be kept have jobs of their own",
    .enabled("the server has no extension pg_cron") { try isAvailable() }
  )
  func longNames() throws {
    try withServer(.connection) { server in
      let connection = try Connection(ConnectionString(server.connectionString))
      try connection.execute("CREATE EXTENSION pg_cron")
      // What differs comes after 63 bytes of each job's name.
      let schemas = ["eu", "us"].map { "customer_retention_archive_of_all_departments_\($0)" }
      func apply(_ path: String, _ schema: String) throws {
        var model = RetentionModel.jam
        model.schema = schema
        let file = try #require(MigrationGenerator.files(for: model).first { $0.path == path })
        try connection.execute("\(raw: file.text)")
      }
      func commands(of schema: String) throws -> Int {
        try connection.query("SELECT count(*) AS n FROM cron.job WHERE command LIKE '%' || $1 || '.%'", schema).first?
          .int("n") ?? 0
      }
      for schema in schemas + schemas { try apply("optional/pg_cron.sql", schema) }
      #expect(try schemas.map(commands) == [2, 2])
      let names = try jobs(connection).keys.sorted()
      #expect(names.count == 6 && names.allSatisfy { $0.utf8.count <= 63 }, "\(names)")
      // The end of the history is about the jobs of its own installation.
      let histories = try connection.query("SELECT command FROM cron.job WHERE jobname LIKE 'jam_job_history%'").rows
      #expect(Set(histories.map { $0["command"] }).count == 2)
      try apply("uninstall/pg_cron.sql", schemas[0])
      #expect(try schemas.map(commands) == [0, 2] && jobs(connection).count == 3)

      // A name of just 63 bytes is what it was.
      let short = "customer_retention_archive_of_departments"
      try apply("optional/pg_cron.sql", short)
      #expect(try jobs(connection)["jam_cleanup: postgres.\(short)"] != nil)
      try apply("uninstall/pg_cron.sql", short)
      #expect(try jobs(connection).count == 3)
    }
  }

  private func jobs(_ connection: Connection) throws -> [String: String] {
    let rows = try connection.query("SELECT jobname, schedule FROM cron.job").rows
    return try Dictionary(uniqueKeysWithValues: rows.map { (try $0.string("jobname"), try $0.string("schedule")) })
  }

  @Test(
    "Jobs run as the operator who scheduled them: cleanups, their record, the end of the history",
    .enabled("the server has no extension pg_cron") { try isAvailable() },
    arguments: Worker.allCases
  )
  func jobs(worker: Worker) throws {
    try withServer(worker) { server in
      var admin = try Connection(ConnectionString(server.connectionString))
      _ = try Migrator(
        files: MigrationGenerator.files(for: .jam),
        model: .jam,
        connection: admin,
        logger: TestDatabase.logger
      )
      .up()
      try admin.execute(try text("optional/roles.sql"))
      try admin.execute("CREATE ROLE keeper LOGIN IN ROLE jam_operator")
      let asKeeper = server.connectionString.replacing("user=postgres", with: "user=keeper")
      var keeper = try Connection(ConnectionString(asKeeper))
      // Only a superuser may read which database pg_cron lives in.
      for (session, hint) in [
        (admin, "run: CREATE EXTENSION pg_cron"), (keeper, "if it names another, have a superuser run there"),
      ] {
        let early = #expect(throws: PostgresError.self) { try session.execute(text("optional/pg_cron.sql")) }
        #expect(early?.sqlState == "55000" && early?.hint?.contains(hint) == true)
        try session.execute("ROLLBACK")
      }
      try admin.execute("CREATE EXTENSION pg_cron; GRANT USAGE ON SCHEMA cron TO keeper")
      for _ in 1...2 { try keeper.execute(try text("optional/pg_cron.sql")) }
      let scheduled = [
        "jam_cleanup: postgres.public": "15 3 * * *", "jam_fold: postgres.public": "* * * * *",
        "jam_job_history: postgres.public": "45 3 * * *",
      ]
      #expect(try jobs(keeper) == scheduled)

      // At the start of the server, so that the test need not wait for the night. A schedule that was changed is kept.
      try admin.execute(
        """
        SELECT cron.alter_job(jobid, schedule => '@reboot') FROM cron.job WHERE jobname NOT LIKE 'jam_fold%';
        INSERT INTO cron.job_run_details (jobid, username, status, end_time)
          SELECT jobid, 'keeper', 'succeeded', now() - interval '15 days' FROM cron.job WHERE jobname LIKE 'jam_cleanup%';
        """
      )
      try keeper.execute(try text("optional/pg_cron.sql"))
      #expect(try jobs(keeper)["jam_cleanup: postgres.public"] == "@reboot")

      for run in 1...2 {
        try admin.execute(
          """
          INSERT INTO jam_preimages (hash, size, created_at)
          VALUES (repeat('a', 64), 3, now() - interval '60 days'), (repeat('b', 64), 3, now())
          ON CONFLICT DO NOTHING
          """
        )
        admin.close()
        keeper.close()
        try server.restart()
        admin = try Connection(ConnectionString(server.connectionString))
        keeper = try Connection(ConnectionString(asKeeper))
        let done: SQL = """
          SELECT d.status, d.return_message FROM cron.job_run_details AS d JOIN cron.job AS j USING (jobid)
          WHERE j.jobname LIKE 'jam_cleanup%' AND d.start_time IS NOT NULL AND d.status IN ('succeeded', 'failed')
          """
        while try admin.query(done).rows.count < run {}
        // pg_cron's background worker says `succeeded` before it commits.
        while try !admin.query("SELECT FROM jam_cleanup_runs WHERE status = 'running'").rows.isEmpty {}
        let outcomes = try admin.query(done).rows
        #expect(outcomes.allSatisfy { $0["status"] == "succeeded" }, "\(outcomes.map { $0["return_message"] ?? "" })")
        let runs = try keeper.query("SELECT status, dry_run, deleted_preimages FROM jam_cleanup_runs ORDER BY id").rows
        #expect(runs.count == run && runs.allSatisfy { $0["status"] == "completed" && $0["deleted_preimages"] == "1" })
      }
      // What pg_cron remembers for more than 14 days goes, and nothing else.
      while try !admin.query("SELECT FROM cron.job_run_details WHERE end_time < now() - interval '1 day'").rows.isEmpty
      {}
      #expect(try admin.query("SELECT count(*) AS n FROM cron.job_run_details").first?.int("n") ?? 0 >= 4)

      for _ in 1...2 { try keeper.execute(try text("uninstall/pg_cron.sql")) }
      #expect(try jobs(admin).isEmpty)
    }
  }

  @Test(
    "In a database without pg_cron nothing changes, and the hint is what to run where it is",
    .enabled("the server has no extension pg_cron") { try isAvailable() }
  )
  func otherDatabase() throws {
    try withServer(.connection) { server in
      var cron = try Connection(ConnectionString(server.connectionString))
      try cron.execute("CREATE EXTENSION pg_cron; SELECT cron.schedule('other', '0 0 1 1 *', 'SELECT 1')")
      let database = try TestDatabase(on: server)
      _ = try database.migrate()
      let refused = #expect(throws: PostgresError.self) {
        try database.connection.execute(text("optional/pg_cron.sql"))
      }
      try database.connection.execute("ROLLBACK")
      let hint = try #require(refused?.hint)
      #expect(refused?.message.contains(database.name) == true && hint.contains("in database postgres"))
      let statements = hint.drop { $0 != "\n" }
      for _ in 1...2 { try cron.execute("\(raw: String(statements))") }
      let places = try cron.query(
        "SELECT jobid, jobname, database FROM cron.job WHERE jobname <> 'other' ORDER BY jobid"
      ).rows
      #expect(places.map { $0["database"] } == [database.name, database.name, "postgres"])
      #expect(places.allSatisfy { $0["jobname"]?.hasSuffix(": \(database.name).public") == true })

      try cron.execute(
        "SELECT cron.alter_job(jobid, schedule => '@reboot') FROM cron.job WHERE jobname LIKE 'jam_cleanup%'"
      )
      cron.close()
      database.connection.close()
      try server.restart()
      let observer = try database.connect()
      while try observer.query("SELECT FROM jam_cleanup_runs WHERE status = 'completed'").rows.isEmpty {}

      let uninstall = try server.psql(database: database.name, arguments: ["-c", text("uninstall/pg_cron.sql").text])
      let removal = try #require(uninstall.error.firstMatch(of: /SELECT cron\.unschedule.*;/))
      cron = try Connection(ConnectionString(server.connectionString))
      try cron.execute("\(raw: String(removal.output))")
      #expect(try jobs(cron) == ["other": "0 0 1 1 *"])
    }
  }
}
