import Foundation
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Synchronization
import Testing

@Suite struct CleanupTests {
  private func installed(_ mode: RefcountingMode) throws -> TestDatabase {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    return database
  }

  private func report(on package: String, age: String, naming hash: String, in database: TestDatabase) throws {
    _ = try database.connection.query(
      """
      INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, refine_output_compact, created_at)
      SELECT gen_random_uuid(), id, service_id, '', convert_to($2, 'UTF8'), now() - $3::interval
      FROM jam_work_packages WHERE id = $1::uuid
      """,
      package,
      hash,
      age
    )
  }

  @Test("A package with a younger report stays, with items and preimages", arguments: RefcountingMode.allCases)
  func youngerReport(mode: RefcountingMode) throws {
    let database = try installed(mode)
    for number in 1...3 { try database.put(hash(number), age: "60 days") }
    let package = try database.submit([hash(1)], age: "50 days")
    try report(on: package, age: "5 days", naming: hash(2), in: database)
    let result = try database.retention.cleanup()
    #expect(try result.int("deleted_packages") == 0 && result.int("deleted_preimages") == 1)
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 2)
  }

  @Test("The code of a live service stays, whatever the cutoff", arguments: RefcountingMode.allCases)
  func liveCode(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try database.put(hash(1), age: "60 days")
    try database.submit([hash(1)], age: "60 days")
    _ = try database.connection.query("UPDATE jam_services SET code_hash = $1", hash(1))
    let result = try database.retention.cleanup(cutoff: "now")
    #expect(try result.int("deleted_packages") == 1 && result.int("deleted_preimages") == 0)
  }

  @Test("A put that leaves the row as it is counts, and each from its moment on, not from its transaction's")
  func puts() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    for number in 1...4 { try database.put(hash(number), age: "90 days") }
    let session = try database.connect()
    try session.execute("BEGIN; SELECT now()")
    let cutoff = try #require(database.connection.query("SELECT clock_timestamp() AS at").first).string("at")
    _ = try session.query("SELECT * FROM jam_touch_preimages(ARRAY[$1])", hash(1))
    _ = try session.query(
      "INSERT INTO jam_preimages (hash, size) VALUES ($1, 1) ON CONFLICT (hash) DO NOTHING",
      hash(2)
    )
    _ = try session.query(
      "INSERT INTO jam_preimages (hash, size) VALUES ($1, 1) ON CONFLICT (hash) DO UPDATE SET size = 1",
      hash(3)
    )
    try session.execute("COMMIT")
    try database.put(hash(9))
    #expect(try database.retention.cleanup(cutoff: cutoff).int("deleted_preimages") == 1)
    let left = try database.connection.query("SELECT hash FROM jam_preimages ORDER BY hash").rows
    #expect(left.compactMap { $0["hash"] } == [hash(1), hash(2), hash(3), hash(9)].sorted())
    // One that was not there before has no later put.
    #expect(try database.int("SELECT count(*) FROM jam_preimage_puts") == 3)
  }

  @Test("A blob put again or touched inside the window stays", arguments: RefcountingMode.allCases)
  func putAgain(mode: RefcountingMode) throws {
    let database = try installed(mode)
    for number in 1...3 { try database.put(hash(number), age: "60 days") }
    try database.put(hash(1))
    let missing = try database.connection.query("SELECT * FROM jam_touch_preimages($1::text[])", [hash(2), hash(9)])
    #expect(missing.rows.compactMap { $0["jam_touch_preimages"] } == [hash(9)])
    #expect(try database.retention.cleanup(dryRun: true).int("deleted_preimages") == 1)
    #expect(try database.retention.cleanup().int("deleted_preimages") == 1)
    #expect(try database.retention.cleanup(dryRun: true).int("deleted_preimages") == 0)
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 2)
  }

  @Test("Locked rows are skipped and counted, nobody waits", arguments: RefcountingMode.allCases)
  func lockedRows(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try database.put(hash(1), age: "60 days")
    try database.put(hash(2), age: "60 days")
    let package = try database.submit([], age: "50 days")
    try database.submit([], age: "50 days")
    let other = try database.connect()
    try other.execute("BEGIN")
    _ = try other.query("SELECT FROM jam_work_packages WHERE id = $1::uuid FOR UPDATE", package)
    _ = try other.query("SELECT FROM jam_preimages WHERE hash = $1 FOR UPDATE", hash(1))
    let result = try database.retention.cleanup()
    #expect(try result.int("deleted_packages") == 1 && result.int("deleted_preimages") == 1)
    #expect(try result.int("busy_preimages") == 1)
    #expect(try database.int("SELECT busy_rows FROM jam_cleanup_runs") == 1)
    try other.execute("ROLLBACK")
    #expect(try database.retention.cleanup().int("deleted_preimages") == 1)
  }

  @Test("A blob that a running submit names is not deleted", arguments: RefcountingMode.allCases)
  func runningSubmit(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try database.put(hash(1), age: "60 days")
    try database.submit([])
    let other = try database.connect()
    try other.execute("BEGIN")
    try database.submit([hash(1)], on: other)
    #expect(try database.retention.cleanup().int("busy_preimages") == 1)
    try other.execute("COMMIT")
    #expect(try database.retention.cleanup().int("deleted_preimages") == 0)
    #expect(try database.refcount(hash(1)) == 1)
  }

  @Test("Of two cleanups at once one is skipped")
  func onlyOne() throws {
    let database = try installed(.immediate)
    let other = try database.connect()
    try other.execute("BEGIN")
    _ = try other.query("INSERT INTO jam_cleanup_runs (dry_run, status) VALUES (false, 'running')")
    _ = try other.query("SELECT jam_cleanup_hold(1)")
    #expect(try database.retention.cleanup()["status"] == "skipped")
    try other.execute("COMMIT")
    // What the other left behind is a run that nobody holds.
    #expect(try database.retention.cleanup()["status"] == "completed")
    #expect(try database.int("SELECT count(*) FROM jam_cleanup_runs WHERE status = 'interrupted'") == 1)
  }

  @Test("Killed after any batch and started again, it ends with the same figures", arguments: RefcountingMode.allCases)
  func killed(mode: RefcountingMode) throws {
    let database = try installed(mode)
    for number in 1...30 {
      try database.put(hash(number), age: "60 days")
      try database.submit([hash(number), hash(1)], age: "50 days")
    }
    try database.connection.execute("UPDATE jam_retention_policy SET batch_size = 3, batch_pause = '20 milliseconds'")
    for attempt in 1...5 {
      let victim = try database.connect()
      let batches = attempt * 2
      let watcher = try database.connect()
      // A thread: the tests' own pool has as many as there are cores, and each may be waiting for a server.
      Thread { _ = try? victim.query("CALL jam_cleanup()") }.start()
      // Committed batches are the clock: the kill comes after so many of them.
      while try watcher.query(
        "SELECT coalesce(sum(batches), 0) >= $1 OR bool_or(status = 'completed') AS reached FROM jam_cleanup_runs",
        batches
      ).first?.optionalBool("reached") != true {}
      _ = try watcher.query("SELECT pg_terminate_backend(\(victim.processID))")
      while try watcher.query("SELECT FROM pg_stat_activity WHERE pid = \(victim.processID)").first != nil {}
    }
    #expect(try database.retention.cleanup()["status"] == "completed")
    #expect(try database.int("SELECT sum(deleted_packages) FROM jam_cleanup_runs") == 30)
    #expect(try database.int("SELECT sum(deleted_preimages) FROM jam_cleanup_runs") == 30)
    #expect(try database.int("SELECT count(*) FROM jam_cleanup_runs WHERE status = 'running'") == 0)
    try database.expectLaw()
  }

  @Test("Guards: future cutoff, disabled, a fraction too large, protected statuses, a disabled trigger")
  func guards() throws {
    let database = try installed(.immediate)
    let package = try database.submit([], age: "50 days")
    try report(on: package, age: "45 days", naming: "", in: database)
    let future = try #require(throws: PostgresError.self) { try database.retention.cleanup(cutoff: "tomorrow") }
    #expect(future.sqlState == "22023")
    // Later than its statement's begin, and no future all the same.
    try database.connection.execute("CALL jam_cleanup(clock_timestamp(), true)")
    #expect(throws: RunnerError.self) { try database.retention.cleanup(cutoff: "soon") }
    try database.retention.setPolicy("max_delete_fraction", to: "0.5")
    #expect(throws: PostgresError.self) { try database.retention.cleanup() }
    try database.retention.setPolicy("max_delete_fraction", to: nil)
    try database.retention.setPolicy("protected_statuses", to: "{pending}")
    #expect(try database.retention.cleanup().int("deleted_reports") == 0)
    try database.retention.setPolicy("protected_statuses", to: "{}")
    try database.connection.execute("ALTER TABLE jam_work_items DISABLE TRIGGER jam_work_items_count_insert")
    #expect(throws: PostgresError.self) { try database.retention.cleanup() }
    try database.connection.execute("ALTER TABLE jam_work_items ENABLE TRIGGER jam_work_items_count_insert")
    try database.retention.setPolicy("retention_days", to: "0")
    #expect(try database.retention.cleanup()["status"] == "disabled")
    #expect(throws: RunnerError.self) { try database.retention.setPolicy("batch_size", to: "0") }
    #expect(try database.int("SELECT count(*) FROM jam_work_packages") == 1)
  }

  @Test("A batch that keeps meeting a conflict is skipped, the others go, and the next run takes it up")
  func conflictingBatch() throws {
    let database = try installed(.immediate)
    for age in ["60 days", "50 days", "40 days"] { try database.submit([], age: age) }
    try database.retention.setPolicy("batch_size", to: "1")
    try database.connection.execute(
      """
      CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'somebody is in the way' USING ERRCODE = 'deadlock_detected'; END $$;
      CREATE TRIGGER conflict BEFORE DELETE ON jam_work_packages FOR EACH ROW
        WHEN (OLD.created_at BETWEEN now() - interval '51 days' AND now() - interval '49 days') EXECUTE FUNCTION conflict()
      """
    )
    let result = try database.retention.cleanup()
    #expect(try result["status"] == "partial" && result.int("deleted_packages") == 2)
    let error = try database.connection.query("SELECT error FROM jam_cleanup_runs ORDER BY id DESC LIMIT 1").first
    #expect(try error?.string("error").contains("somebody is in the way") == true)
    try database.connection.execute("DROP TRIGGER conflict ON jam_work_packages")
    #expect(try database.retention.cleanup().int("deleted_packages") == 1)
  }

  @Test("A run whose max_duration is over ends partial; the next one goes on")
  func maxDuration() throws {
    let database = try installed(.immediate)
    try database.submit([], age: "50 days")
    try database.retention.setPolicy("max_duration", to: "1 microsecond")
    let result = try database.retention.cleanup()
    #expect(try result["status"] == "partial" && result.int("deleted_packages") == 0)
    try database.retention.setPolicy("max_duration", to: nil)
    #expect(try database.retention.cleanup().int("deleted_packages") == 1)
  }

  /// Waits until the cleanup in the session pauses; or it has ended without.
  private func waitForPause(of session: Connection, in database: TestDatabase) throws {
    while try database.connection.query(
      """
      SELECT FROM pg_stat_activity WHERE pid = \(session.processID) AND wait_event = 'PgSleep'
      UNION ALL SELECT FROM jam_cleanup_runs WHERE finished_at IS NOT NULL
      """
    ).first == nil {}
  }

  @Test("Between two batches a cleanup pauses, and holds no row and no table lock meanwhile")
  func batchPause() throws {
    let database = try installed(.immediate)
    for age in ["60 days", "50 days"] { try database.submit([], age: age) }
    try database.retention.setPolicy("batch_size", to: "1")
    try database.retention.setPolicy("batch_pause", to: "1 minute")
    let session = try database.connect()
    let ended = DispatchSemaphore(value: 0)
    Thread {
      _ = try? session.query("CALL jam_cleanup()")
      ended.signal()
    }.start()
    try waitForPause(of: session, in: database)
    #expect(
      try database.int(
        "SELECT count(*) FROM pg_locks WHERE pid = \(session.processID) AND mode NOT IN ('AccessShareLock', 'ExclusiveLock')"
      ) == 0
    )
    #expect(try database.int("SELECT count(*) FROM (SELECT FROM jam_work_packages FOR UPDATE NOWAIT) AS locked") == 2)
    #expect(try database.retention.cleanup()["status"] == "skipped")
    session.cancel()
    ended.wait()
  }

  @Test(
    "What a cleanup frees goes in the same run, though another fold is at work",
    arguments: RefcountingMode.allCases
  )
  func otherFold(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try database.put(hash(1), age: "60 days")
    try database.submit([hash(1)], age: "50 days")
    let folder = try database.connect()
    try folder.execute("BEGIN; SELECT jam_fold_references()")
    let session = try database.connect()
    let ended = DispatchSemaphore(value: 0)
    Thread {
      _ = try? session.query("CALL jam_cleanup()")
      ended.signal()
    }.start()
    // For the fold.
    try waitForPause(of: session, in: database)
    try folder.execute("COMMIT")
    ended.wait()
    #expect(try database.int("SELECT count(*) FROM jam_cleanup_runs WHERE status = 'completed'") == 1)
    #expect(try database.int("SELECT sum(deleted_preimages) FROM jam_cleanup_runs") == 1)
    try database.expectLaw()
  }

  @Test("A session that folds and leaves its transaction open does not keep a cleanup for ever")
  func openFold() throws {
    let database = try installed(.deferred)
    try database.put(hash(1), age: "60 days")
    try database.submit([hash(1)], age: "50 days")
    try database.connection.execute(
      "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('jam_cleanup'::regproc), '10 minutes', '0'); END $do$"
    )
    let folder = try database.connect()
    try folder.execute("BEGIN; SELECT jam_fold_references()")
    let beside = try database.connection.query("CALL jam_cleanup()").first
    #expect(beside?["status"] == "partial")
    #expect(try beside?.int("deleted_packages") == 1)
    #expect(
      try database.connection.query("SELECT error FROM jam_cleanup_runs").first?["error"]
        == "another fold or repair is still at work"
    )
    try folder.execute("COMMIT")
    let after = try database.connection.query("CALL jam_cleanup()").first
    #expect(after?["status"] == "completed")
    #expect(try after?.int("deleted_preimages") == 1)
    try database.expectLaw()
  }

  @Test("A fold that fails, or waits for a lock, is in the record of its run", arguments: RefcountingMode.allCases)
  func failedFold(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try database.put(hash(1))
    try database.submit([hash(1)])
    func error() throws -> String? {
      try database.connection.query("SELECT error FROM jam_cleanup_runs ORDER BY id DESC LIMIT 1").first?["error"]
    }
    try database.connection.execute("UPDATE jam_retention_policy SET max_duration = '1 second'")
    let other = try database.connect()
    try other.execute("BEGIN; LOCK TABLE jam_reference_ledger IN ACCESS EXCLUSIVE MODE")
    #expect(try database.connection.query("CALL jam_cleanup(dry_run => false)").first?["status"] == "partial")
    #expect(try error()?.contains("lock timeout") == true)
    try other.execute("COMMIT")
    try database.connection.execute(
      """
      CREATE OR REPLACE FUNCTION jam_fold_references() RETURNS bigint LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'no fold today' USING ERRCODE = '22003'; END $$
      """
    )
    let failure = #expect(throws: PostgresError.self) { try database.connection.query("CALL jam_cleanup()") }
    #expect(failure?.sqlState == "22003")
    #expect(try database.int("SELECT count(*) FROM jam_cleanup_runs WHERE status = 'failed'") == 1)
    #expect(try error() == "no fold today")
  }

  /// Adds expired packages, each with an item, a report and an attestation, and as many expired blobs.
  private func addExpired(_ count: Int, to database: TestDatabase) throws {
    try database.connection.execute(
      """
      INSERT INTO jam_services (id, owner, code_hash) VALUES (gen_random_uuid(), '', '');
      INSERT INTO jam_work_packages (id, service_id, created_at)
      SELECT md5(n::text)::uuid, s.id, now() - interval '60 days' FROM jam_services AS s, generate_series(1, \(count)) AS n;
      INSERT INTO jam_work_items (id, package_id, kind, params_hash) SELECT p.id, p.id, '', '' FROM jam_work_packages AS p;
      INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, created_at)
      SELECT p.id, p.id, p.service_id, '', p.created_at FROM jam_work_packages AS p;
      INSERT INTO jam_attestations (report_id, worker_id, created_at)
      SELECT r.id, '', r.created_at FROM jam_work_reports AS r;
      INSERT INTO jam_preimages (hash, size, data, created_at)
      SELECT encode(sha256(n::text::bytea), 'hex'), 0, '', now() - interval '60 days' FROM generate_series(1, \(count)) AS n;
      SELECT jam_fold_references();
      """
    )
  }

  /// Calls the function of each class, and of the blobs, for a batch of a thousand.
  private func deleteBatches(in session: Connection) throws {
    for name in ["reports", "packages", "preimages"] {
      let batch = Identifier("jam_cleanup_\(name)_batch")
      let row = try session.query("SELECT outcome FROM \(batch)(0, now(), 1000, '-infinity', NULL)").first
      #expect(row?["outcome"] == "more")
    }
  }

  @Test("A batch reads no whole table, even where the planner would", arguments: RefcountingMode.allCases)
  func readsByKey(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try addExpired(3000, to: database)
    // Only then are parents looked up.
    try database.retention.setPolicy("protected_statuses", to: "{running}")
    try database.connection.execute("VACUUM (ANALYZE)")
    // In a session that has read nothing yet.
    let session = try database.connect()
    try session.execute("BEGIN")
    try deleteBatches(in: session)
    let tables = try session.query(
      """
      SELECT relname, n_tup_del, seq_scan FROM pg_stat_xact_user_tables
      WHERE relname IN ('jam_work_packages', 'jam_work_items', 'jam_work_reports', 'jam_attestations', 'jam_preimages')
      """
    )
    #expect(tables.rows.count == 5)
    for table in tables.rows {
      #expect(table["n_tup_del"] == "1000" && table["seq_scan"] == "0", "\(table["relname"] ?? "")")
    }
  }

  @Test("A batch of blobs reads those that it may delete, however many more are unreferenced")
  func readsUnreferencedBlobsOnce() throws {
    let database = try installed(.immediate)
    try addExpired(3000, to: database)
    // The statistics are from before anything was unreferenced, as they are after a cleanup's first steps.
    try database.connection.execute("SET session_replication_role = replica; UPDATE jam_preimages SET refcount = 1")
    try database.connection.execute("VACUUM (ANALYZE) jam_preimages")
    try database.connection.execute("UPDATE jam_preimages SET refcount = 0; RESET session_replication_role")
    let session = try database.connect()
    try session.execute("BEGIN")
    let batch = try session.query("SELECT outcome FROM jam_cleanup_preimages_batch(0, now(), 100, '-infinity', NULL)")
      .first
    #expect(batch?["outcome"] == "more")
    let read = try session.query(
      "SELECT pg_stat_get_xact_tuples_returned('jam_preimages_unreferenced_idx'::regclass) AS read"
    ).first
    #expect((100..<200).contains(try read?.int("read") ?? 0))
  }

  @Test("What foreign keys ask for each row is planned once, not for each row", arguments: RefcountingMode.allCases)
  func plansForeignKeysOnce(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try addExpired(300, to: database)
    // An application may have some that the model does not know.
    try database.connection.execute("CREATE TABLE others (hash text REFERENCES jam_preimages)")
    let session = try database.connect()
    // The server tells of each plan that it makes.
    try session.execute("SET debug_print_plan = on; SET client_min_messages = log; BEGIN")
    let plans = Mutex(0)
    try session.observingNotices(
      { notice in
        if notice.message == "plan:" { plans.withLock { $0 += 1 } }
        return true
      },
      during: { try deleteBatches(in: session) }
    )
    #expect((10..<300).contains(plans.withLock { $0 }))
  }

  @Test("A batch takes no more than 8 MiB of inline content, or one blob that is larger", arguments: [0, 30])
  func largeBlobs(archiveDays: Int) throws {
    let database = try installed(.immediate)
    try database.retention.setPolicy("archive_days", to: "\(archiveDays)")
    // In the order of their ages: 8 MiB and empty ones, 2 MiB and an empty one, 9 MiB, 9 MiB, and what is left. How well
    // they are compressed does not matter, nor how large a blob is that is not inline.
    let contents = [0, 0] + Array(repeating: 1024, count: 8) + [0, -9999, 2048, 0, 9216, 9216, 1, 0, 4096, 4095]
    for (number, kibibytes) in contents.enumerated() {
      _ = try database.connection.query(
        """
        INSERT INTO jam_preimages (hash, size, data, storage_class, created_at)
        SELECT $1, abs($2::integer), CASE WHEN $2::integer >= 0 THEN convert_to(repeat('x', $2::integer), 'UTF8') END,
          CASE WHEN $2::integer < 0 THEN 's3' ELSE '' END, now() - interval '60 days' + $3::integer * interval '1 minute'
        """,
        hash(number),
        kibibytes * 1024,
        number
      )
    }
    _ = try database.retention.fold()
    let result = try database.retention.cleanup()
    #expect(try result.int("deleted_preimages") == contents.count)
    #expect(try database.int("SELECT batches FROM jam_cleanup_runs") == 5)
    try database.expectLaw()
  }

  @Test("A batch of blobs in an old snapshot is refused")
  func batchInOldSnapshot() throws {
    let database = try installed(.immediate)
    try database.put(hash(1), age: "60 days")
    try database.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT")
    let batch = try database.connection.query(
      "SELECT * FROM jam_cleanup_preimages_batch(1, now(), 10, '-infinity', '')"
    )
    #expect(batch.first?["outcome"] == "failed" && batch.first?["failure_state"] == "25001")
    try database.connection.execute("COMMIT")
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 1)
  }

  @Test("A size that no blob can have is refused: sums of such would stop every fold", arguments: [-1, 1 << 62])
  func absurdSize(size: Int) throws {
    let database = try installed(.immediate)
    try database.put(hash(1))
    for statement in [
      "INSERT INTO jam_preimages (hash, size) VALUES ('x', \(size))", "UPDATE jam_preimages SET size = \(size)",
    ] as [SQL] {
      let error = #expect(throws: PostgresError.self) { try database.connection.execute(statement) }
      #expect(error?.sqlState == "22023")
    }
    try database.expectLaw()
  }

  @Test(
    "While references are to be counted again, no blob goes by hand, and a dry run says what a run deletes that counts them",
    arguments: RefcountingMode.allCases
  )
  func recount(mode: RefcountingMode) throws {
    let database = try installed(mode)
    for number in 1...3 { try database.put(hash(number), age: "60 days") }
    try database.submit([hash(1), hash(2)])
    _ = try database.connection.query("UPDATE jam_services SET code_hash = $1", hash(1))
    _ = try database.retention.fold()
    let old = try database.connect()
    try old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT")
    try database.connection.execute("DELETE FROM jam_work_packages")
    try database.submit([hash(3)])
    // Takes the references of the first package back a second time, and leaves that of the second.
    try old.execute("TRUNCATE jam_work_packages CASCADE; COMMIT")
    #expect(try (1...3).map { try database.refcount(hash($0)) } == [0, -1, 1])
    for number in 1...3 {
      let error = #expect(throws: PostgresError.self) {
        try database.connection.query("DELETE FROM jam_preimages WHERE hash = $1", hash(number))
      }
      #expect(error?.sqlState == "55P03")
      #expect(error?.hint?.contains("SELECT public.jam_fold_references()") == true)
    }
    try database.retention.setPolicy("max_delete_fraction", to: "0.7")
    for dryRun in [true, false] {
      let run = try database.retention.cleanup(dryRun: dryRun)
      #expect(try run.int("deleted_preimages") == 2 && run.int("freed_bytes") == 6, "dry run: \(dryRun)")
    }
    #expect(try database.refcount(hash(1)) == 1)
    let error = #expect(throws: PostgresError.self) { try database.connection.execute("DELETE FROM jam_preimages") }
    #expect(error?.sqlState == "23503")
    try database.expectLaw()
  }

  @Test("A row without an age stays, and the dry run says so", arguments: RefcountingMode.allCases)
  func noAge(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try database.submit([], age: "50 days")
    try database.put(hash(1))
    try database.connection.execute(
      "UPDATE jam_work_packages SET created_at = '-infinity'; UPDATE jam_preimages SET created_at = '-infinity'"
    )
    for dryRun in [true, false] {
      let result = try database.retention.cleanup(cutoff: "now", dryRun: dryRun)
      #expect(try result.int("deleted_packages") == 0 && result.int("deleted_preimages") == 0)
    }
  }

  @Test("Every window that the policy admits works", arguments: ["", "reports_", "packages_", "preimages_"])
  func windows(prefix: String) throws {
    let database = try installed(.immediate)
    let column = Identifier("\(prefix)retention_days")
    for days in prefix.isEmpty ? [-36500, 36500] : [1, 36500] {
      try database.connection.execute("UPDATE jam_retention_policy SET \(column) = \(days)")
      #expect(try database.retention.preview().rows.count == 10)
      #expect(try database.retention.cleanup()["status"] == (days > 0 ? "completed" : "disabled"))
    }
    for days in [Int32.min, Int32.max] {
      let error = #expect(throws: PostgresError.self) {
        try database.connection.execute("UPDATE jam_retention_policy SET \(column) = \(days)")
      }
      #expect(error?.sqlState == "23514")
    }
  }

  @Test("Inside a transaction a dry run works and a real run says what to do")
  func transaction() throws {
    let database = try installed(.immediate)
    try database.connection.execute("BEGIN")
    #expect(try database.retention.cleanup(dryRun: true)["status"] == "completed")
    let error = try #require(throws: PostgresError.self) { try database.retention.cleanup(dryRun: false) }
    #expect(error.sqlState == "2D000" && error.context?.contains("outside BEGIN") == true)
    try database.connection.execute("ROLLBACK")
    try database.connection.execute("BEGIN READ ONLY")
    #expect(try database.retention.preview().rows.count == 10)
    try database.connection.execute("COMMIT")
  }
}
