import EmbeddedPostgres
import Foundation
import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

@Suite struct CrashTests {
  @Test("The server is killed in the middle of cleanups: the next one ends with the same figures")
  func serverKilled() throws {
    let server = try EmbeddedPostgres.start(settings: ["fsync": "on"])
    defer { server.stop() }
    let target = try ConnectionString(server.connectionString)
    let setup = try Connection(target)
    let migrator = try Migrator(
      files: MigrationGenerator.files(for: .jam),
      model: .jam,
      connection: setup,
      logger: TestDatabase.logger
    )
    _ = try migrator.up()
    try setup.execute(
      """
      UPDATE jam_retention_policy SET batch_size = 2, batch_pause = '5 milliseconds';
      INSERT INTO jam_services (id, owner, code_hash) VALUES (md5('s')::uuid, '', '');
      INSERT INTO jam_preimages (hash, size, created_at)
        SELECT lpad(n::text, 64, '0'), 10, now() - interval '60 days' FROM generate_series(1, 60) AS n;
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes, created_at)
        SELECT md5(n::text)::uuid, md5('s')::uuid, ARRAY[lpad(n::text, 64, '0'), lpad('1', 64, '0')],
          now() - CASE WHEN n <= 50 THEN interval '50 days' ELSE interval '1 day' END
        FROM generate_series(1, 60) AS n;
      """
    )
    setup.close()

    for batches in stride(from: 3, through: 40, by: 6) {
      let victim = try Connection(target)
      Thread { _ = try? victim.query("CALL jam_cleanup()") }.start()
      let watcher = try Connection(target)
      // Committed batches are the clock: the crash comes after so many of them.
      let reached: SQL = """
        SELECT sum(batches) >= \(batches) OR bool_or(status = 'completed') AS reached FROM jam_cleanup_runs
        """
      while try watcher.query(reached).first?.optionalBool("reached") != true {}
      server.killHard()
      try server.restart()
    }

    let connection = try Connection(target)
    let database = RetentionDatabase(connection: connection, model: .jam, logger: TestDatabase.logger)
    #expect(try database.verify().rows.isEmpty)
    #expect(try database.cleanup()["status"] == "completed")
    #expect(try database.verify().rows.isEmpty)
    let totals = try #require(
      connection.query(
        """
        SELECT sum(deleted_packages) AS packages, sum(deleted_preimages) AS preimages, sum(freed_bytes) AS bytes,
          count(*) FILTER (WHERE status = 'running') AS running
        FROM jam_cleanup_runs
        """
      ).first
    )
    // Blob 1 is named by the ten packages that stay.
    #expect(try totals.int("packages") == 50)
    #expect(try totals.int("preimages") == 49 && totals.int("bytes") == 490)
    #expect(try totals.int("running") == 0)
  }
}
