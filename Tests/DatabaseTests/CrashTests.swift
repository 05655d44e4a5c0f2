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

  private static let kills = ProcessInfo.processInfo.environment["JAM_CRASHES"].flatMap(Int.init) ?? 6

  @Test("The server is killed at random moments of a mixed load: nothing referenced is gone, the next cleanup works")
  func mixedLoad() throws {
    let server = try EmbeddedPostgres.start(settings: ["fsync": "on"])
    defer { server.stop() }
    let seed = ProcessInfo.processInfo.environment["JAM_SEED"].flatMap(UInt64.init) ?? .random(in: 0..<1 << 48)
    var random = SeededGenerator(seed: seed)
    var survived: [String: Int] = [:]
    for mode in RefcountingMode.allCases {
      let database = try TestDatabase(mode, on: server)
      _ = try database.migrate()
      try database.submit([])
      try database.retention.setPolicy("batch_size", to: "20")
      let workload = Workload(database: database)
      workload.start(writers: 6, seed: seed)
      workload.start { connection in _ = try connection.query("CALL jam_cleanup()") }
      workload.start { connection in _ = try connection.query("SELECT jam_fold_references()") }
      for kill in 1...max(1, Self.kills / 2) {
        workload.wait(forEvents: Int.random(in: 1...150, using: &random))
        server.killHard()
        try server.restart()
        let observer = try database.connect()
        // The clients go on meanwhile; each look is one snapshot.
        #expect(try observer.query("SELECT FROM jam_verify_refcounts()").rows.isEmpty, "seed \(seed), kill \(kill)")
        #expect(try database.lostReferences(on: observer) == 0, "seed \(seed), kill \(kill)")
        observer.close()
        survived[mode.rawValue, default: 0] += 1
      }
      workload.stop()
      let observer = try database.connect()
      let next = try observer.query("CALL jam_cleanup()").first
      #expect(next?["status"] == "completed", "seed \(seed)")
      #expect(
        try observer.query("SELECT FROM jam_cleanup_runs WHERE status IN ('running', 'failed')").rows.isEmpty,
        "seed \(seed)"
      )
      #expect(try observer.query("SELECT FROM jam_verify_refcounts()").rows.isEmpty, "seed \(seed)")
      #expect(try observer.query("SELECT jam_repair_refcounts() AS n").first?.int("n") == 0)
      #expect(
        workload.current.failures.keys.allSatisfy { failure in
          ["connection", "57P01", "57P02", "57P03"].contains { failure.contains($0) }
        },
        "\(workload.current.failures)"
      )
    }
    print("crashes: seed \(seed), kills survived \(survived)")
  }
}
