import EmbeddedPostgres
import Foundation
import FoundationNetworking
import Postgres
import SafeSQL
import Testing

@Suite(.timeLimit(.minutes(5))) struct ServeTests {
  private let database: CommandDatabase
  private static let packages = 40

  init() throws {
    database = try CommandDatabase()
    try database.succeed("migrate", "up")
  }

  /// Expired packages, each with a blob of its own, which a cleanup deletes one by one.
  private func submitExpired(_ count: Int = packages, pause: String = "1 s") throws {
    try database.connection.execute(
      """
      INSERT INTO jam_services (id, owner, code_hash) VALUES ('00000000-0000-0000-0000-000000000001', '', '');
      INSERT INTO jam_preimages (hash, size, data, created_at)
        SELECT encode(sha256(n::text::bytea), 'hex'), 3, 'abc', now() - interval '60 days' FROM generate_series(1, \(count)) AS n;
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes, created_at)
        SELECT gen_random_uuid(), '00000000-0000-0000-0000-000000000001', ARRAY[encode(sha256(n::text::bytea), 'hex')],
          now() - interval '60 days'
        FROM generate_series(1, \(count)) AS n;
      UPDATE jam_retention_policy SET batch_size = 1, batch_pause = \(literal: pause)
      """
    )
  }

  private func statuses() throws -> [String] {
    try database.connection.query("SELECT status FROM jam_cleanup_runs ORDER BY id").rows.map {
      try $0.string("status")
    }
  }

  private func waitForBatches(_ count: Int) throws {
    try eventually("batch \(count)") {
      try database.int("SELECT coalesce(max(batches), 0) FROM jam_cleanup_runs WHERE status = 'running'") >= count
    }
  }

  /// Holds a table, so that everybody else waits for it, until the body returns.
  private func locking<Result>(_ table: String, _ body: () throws -> Result) throws -> Result {
    let holder = try Connection(ConnectionString(database.connectionString))
    defer { holder.close() }
    try holder.execute("BEGIN; LOCK TABLE \(raw: table)")
    return try body()
  }

  /// Waits until somebody waits for a table, for so long at least.
  private func waitForWaiter(_ table: String, seconds: Int = 0) throws {
    try eventually("a statement that waits for \(table)") {
      try database.int(
        """
        SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE NOT l.granted AND l.relation = to_regclass(\(literal: table))
          AND a.query_start < clock_timestamp() - make_interval(secs => \(seconds))
        """
      ) > 0
    }
  }

  private func expectLaw() throws {
    #expect(try database.int("SELECT count(*) FROM jam_verify_refcounts()") == 0)
  }

  // MARK: Several services

  @Test("A service killed during a cleanup: the standby takes over and ends the work; no counter goes back")
  func kill() throws {
    try submitExpired()
    let first = try RunningService(database.connectionString)
    try waitForBatches(2)
    try database.connection.execute("UPDATE jam_retention_policy SET batch_pause = '50 ms'")
    let second = try RunningService(database.connectionString)
    try second.wait(for: "standing by")
    first.send(SIGKILL)
    var counters: [[String: Double]] = []
    func readCounters() throws {
      let answer = try second.answer("/metrics")
      #expect(answer.status == 200, "\(answer.text)")
      counters.append(Self.counters(answer.text))
    }
    try eventually("the end of the second run") {
      try readCounters()
      return try !second.events("cleanup").isEmpty
    }
    try readCounters()
    for (before, after) in zip(counters, counters.dropFirst()) {
      for (name, value) in before { #expect(after[name, default: -1] >= value, "\(name)") }
    }
    #expect(try statuses() == ["interrupted", "completed"])
    #expect(try database.int("SELECT sum(deleted_packages)::bigint FROM jam_cleanup_runs") == Self.packages)
    #expect(try database.int("SELECT sum(deleted_preimages)::bigint FROM jam_cleanup_runs") == Self.packages)
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 0)
    #expect(counters.last?["jam_cleanup_deleted_packages"] == Double(Self.packages))
    try expectLaw()
  }

  private static func counters(_ text: String) -> [String: Double] {
    let lines = text.split(separator: "\n")
    let names = Set(lines.filter { $0.hasSuffix(" counter") }.map { $0.split(separator: " ")[2] })
    return Dictionary(
      lines.filter { line in !line.hasPrefix("#") && names.contains(line.prefix { $0 != "{" && $0 != " " }) }.map {
        line in
        let parts = line.split(separator: " ")
        return (String(parts[0]), Double(parts[1]) ?? .nan)
      }
    ) { $1 }
  }

  @Test("Of two services one runs the cleanup, once; where the first ends, the second sees that nothing is due")
  func once() throws {
    try submitExpired(3, pause: "0")
    let services = try [RunningService(database.connectionString), RunningService(database.connectionString)]
    try eventually("the one run") { try statuses() == ["completed"] }
    let leader = try services[0].events("leadership gained").isEmpty ? 1 : 0
    try services[1 - leader].wait(for: "standing by")
    try services[leader].wait(for: "next cleanup")
    services[leader].send(SIGTERM)
    #expect(try services[leader].end().status == 0)
    try services[1 - leader].wait(for: "leadership gained")
    try services[1 - leader].wait(for: "next cleanup")
    #expect(try statuses() == ["completed"])
    #expect(try services[1 - leader].events("cleanup").isEmpty)
  }

  // MARK: Its end

  @Test(
    "SIGTERM and SIGINT end the service after the batch; exit code and run say so, the next start does the rest",
    arguments: [SIGTERM, SIGINT]
  )
  func terminate(signal: Int32) throws {
    try submitExpired()
    let service = try RunningService(database.connectionString)
    try waitForBatches(2)
    service.send(signal)
    let result = try service.end()
    #expect(result.status == 0)
    let name = signal == SIGTERM ? "SIGTERM" : "SIGINT"
    let run = try #require(database.connection.query("SELECT * FROM jam_cleanup_runs").first)
    #expect(
      run["status"] == "interrupted" && run["error"] == "\(name) ended the service; the run ended after its batch"
    )
    #expect(try run.int("deleted_packages") == Self.packages - database.int("SELECT count(*) FROM jam_work_packages"))
    #expect(try run.int("deleted_packages") == run.int("batches"))
    let event = try #require(service.events("cleanup").first)
    #expect(event["status"] as? String == "interrupted" && event["run_id"] as? Int == 1)
    #expect((event["error"] as? String)?.contains(name) == true)
    #expect(try service.events("service stopping").first?["signal"] as? String == name)
    #expect(try service.events("service stopped").count == 1)
    try expectLaw()

    try database.connection.execute("UPDATE jam_retention_policy SET batch_pause = '0', batch_size = 1000")
    try RunningService(database.connectionString).wait(for: "next cleanup")
    #expect(try statuses() == ["interrupted", "completed"])
    #expect(try database.int("SELECT count(*) FROM jam_work_packages") == 0)
    try expectLaw()
  }

  @Test("It does not wait for the end of a long pause before a batch")
  func terminateInPause() throws {
    try submitExpired(pause: "1 minute")
    let service = try RunningService(database.connectionString)
    try eventually("the pause") {
      try database.int(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
      ) > 0
    }
    let before = try database.int("SELECT batches FROM jam_cleanup_runs")
    service.send(SIGTERM)
    #expect(try service.end().status == 0)
    let run = try #require(database.connection.query("SELECT status, batches FROM jam_cleanup_runs").first)
    #expect(try run["status"] == "interrupted" && run.int("batches") == before)
  }

  @Test(
    "Nor for a statement that has nothing to lose: the schedule's, a fold, a sweep, a dry run that counts",
    arguments: ["jam_cleanup_runs", "jam_unresolved_references", "jam_blob_deletions", "jam_preimages"]
  )
  func terminateStalled(table: String) throws {
    let store = try CommandStore(database)
    try submitExpired(3, pause: "0")
    try database.connection.execute("UPDATE jam_retention_policy SET dry_run = true")
    try locking(table) {
      let service = try RunningService(database.connectionString, environment: store.environment)
      try waitForWaiter(table)
      service.send(SIGTERM)
      #expect(try service.end().status == 0)
      #expect(try service.events("service stopped").count == 1)
      for event in ["fold failed", "sweep failed", "schedule not readable", "leadership lost"] {
        #expect(try service.events(event).isEmpty, "\(event)")
      }
    }
    #expect(try database.int("SELECT count(*) FROM jam_work_packages") == 3)
    try expectLaw()
  }

  @Test("Nor for an object store that does not answer; the deletion comes again")
  func terminateStalledStore() throws {
    let store = try SilentServer()
    try database.connection.execute(
      "INSERT INTO jam_blob_deletions (hash, generation, size) VALUES (repeat('a', 64), 0, 3)"
    )
    let service = try RunningService(
      database.connectionString,
      environment: [
        "RUNTIME_JAM_BLOB_STORE_ENDPOINT": "http://127.0.0.1:\(store.port)", "RUNTIME_JAM_BLOB_STORE_BUCKET": "bucket",
        "RUNTIME_JAM_BLOB_STORE_ACCESS_KEY": "a", "RUNTIME_JAM_BLOB_STORE_SECRET_KEY": "s",
      ]
    )
    try eventually("a request") { store.hasConnection }
    try service.wait(for: "next cleanup")
    service.send(SIGTERM)
    #expect(try service.end().status == 0)
    #expect(try service.events("sweep failed").isEmpty && service.events("service stopped").count == 1)
    #expect(try database.int("SELECT count(*) FROM jam_blob_deletions") == 1)
  }

  // MARK: The schedule

  @Test("Beside a cleanup that has no record yet, it looks again now and then, not at once")
  func besideUnrecorded() throws {
    try submitExpired(1, pause: "0")
    try database.connection.execute("UPDATE jam_retention_policy SET max_delete_fraction = 1")
    var byHand: Command?
    let service = try locking("jam_preimages") {
      byHand = try Command(["cleanup"], environment: ["RUNTIME_JAM_PG_DSN": database.connectionString])
      try waitForWaiter("jam_preimages")
      let service = try RunningService(database.connectionString)
      try service.wait(for: "cleanup", count: 2)
      return service
    }
    #expect(try byHand?.end().status == 0)
    try service.wait(for: "next cleanup")
    #expect(try statuses().filter { $0 == "completed" }.count == 1)
    #expect(
      try database.int(
        """
        SELECT count(*) FROM jam_cleanup_runs AS a JOIN jam_cleanup_runs AS b ON b.id = a.id + 1
        WHERE a.status = 'skipped' AND b.status = 'skipped' AND b.started_at < a.started_at + interval '4 s'
        """
      ) == 0
    )
  }

  @Test("A run that was missed is made up once, and not again by the next start; each batch is an event")
  func missed() throws {
    try submitExpired(3, pause: "0")
    try database.connection.execute(
      """
      INSERT INTO jam_cleanup_runs (started_at, finished_at, dry_run, status)
      VALUES (now() - interval '5 days', now() - interval '5 days', false, 'completed')
      """
    )
    let service = try RunningService(database.connectionString, environment: ["RUNTIME_JAM_RETENTION_TIME": "03:30"])
    let next = try service.wait(for: "next cleanup")
    #expect((next["due"] as? String)?.hasSuffix("T03:30:00Z") == true)
    #expect(try statuses() == ["completed", "completed"])
    let run = try #require(service.events("cleanup").first)
    #expect(run["deleted_packages"] as? Int == 3 && run["run_id"] as? Int == 2 && run["duration_ms"] is Int)
    let batches = try service.events("cleanup batch")
    #expect(
      batches.map { $0["data_class"] as? String } == Array(repeating: "packages", count: 3)
        + Array(repeating: "preimages", count: 3)
    )
    #expect(batches.allSatisfy { $0["run_id"] as? Int == 2 && $0["deleted"] as? Int == 1 && $0["busy"] as? Int == 0 })
    service.send(SIGTERM)
    #expect(try service.end().status == 0)

    try RunningService(database.connectionString).wait(for: "next cleanup")
    #expect(try statuses() == ["completed", "completed"])
  }

  @Test("A run by hand counts; a dry run does not, unless the policy makes every run one")
  func byHand() throws {
    try submitExpired(1, pause: "0")
    try database.succeed("cleanup")
    try RunningService(database.connectionString).wait(for: "next cleanup")
    #expect(try statuses() == ["completed"])
    try database.connection.execute("TRUNCATE jam_cleanup_runs")
    try database.succeed("cleanup", "--dry-run")
    try RunningService(database.connectionString).wait(for: "next cleanup")
    #expect(try statuses() == ["completed", "completed"])
    try database.connection.execute("TRUNCATE jam_cleanup_runs; UPDATE jam_retention_policy SET dry_run = true")
    try RunningService(database.connectionString).wait(for: "next cleanup")
    try RunningService(database.connectionString).wait(for: "next cleanup")
    #expect(try statuses() == ["completed"])
  }

  @Test("Where the policy disables the cleanup, a service says so and runs none")
  func disabledByPolicy() throws {
    try database.connection.execute("UPDATE jam_retention_policy SET retention_days = 0")
    let service = try RunningService(database.connectionString)
    try service.wait(for: "the policy disables the cleanup")
    #expect(try service.wait(for: 200, at: "/readyz") == "ready\n")
    try database.connection.execute("UPDATE jam_retention_policy SET retention_days = 30")
    try service.wait(for: "next cleanup")
    #expect(try statuses() == ["completed"])
  }

  @Test("Disabled, or with store memory: the warning, and nothing else")
  func notEnabled() throws {
    for (variables, text) in [
      (["RUNTIME_JAM_STORE": "memory"], "store is memory"), (["RUNTIME_JAM_ENABLED": "false"], "JAM is disabled"),
    ] {
      let result = try database.run("serve", "--log-format", "json", environment: variables)
      #expect(result.status == 0 && result.output.isEmpty && result.errorLines.count == 1)
      let event = try #require(objects(result.errorLines).first)
      #expect(event["level"] as? String == "warning" && (event["event"] as? String)?.hasPrefix(text) == true)
    }
    #expect(try statuses().isEmpty)
  }

  @Test("It folds what waits in the ledger, and sweeps the objects of blobs that are gone")
  func foldAndSweep() throws {
    let store = try CommandStore()
    let hash = try store.putInline(Data("abc".utf8))
    try store.succeed("offload", "--min-bytes", "0")
    try store.database.connection.execute("UPDATE jam_preimages SET created_at = now() - interval '60 days'")
    try store.succeed("cleanup")
    #expect(try store.names().count == 1)
    try store.database.connection.execute(
      "INSERT INTO jam_reference_ledger (hash, delta) VALUES (\(literal: hash), 1), (\(literal: hash), -2)"
    )
    let service = try RunningService(store.database.connectionString, environment: store.environment)
    let sweep = try service.wait(for: "sweep")
    #expect(sweep["deleted"] as? Int == 1 && sweep["bytes"] as? Int == 3 && sweep["failed"] as? Int == 0)
    #expect(try store.names().isEmpty)
    let fold = try service.wait(for: "fold")
    #expect(fold["entries"] as? Int == 2 && fold["duration_ms"] is Int)
    #expect(try service.wait(for: "refcount anomaly")["hash"] as? String == hash)
  }

  @Test("No limit for people's statements ends a sweep")
  func sweepWithoutLimit() throws {
    let store = try CommandStore(database)
    try database.connection.execute(
      """
      DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = 1000', current_database()); END $$
      """
    )
    try locking("jam_blob_uploads") {
      let service = try RunningService(database.connectionString, environment: store.environment)
      try waitForWaiter("jam_blob_uploads", seconds: 2)
      #expect(try service.events("sweep failed").isEmpty)
    }
  }

  @Test("It removes what uploads have left that died, though no object is to be deleted")
  func deadUploads() throws {
    let store = try CommandStore(database)
    let file = "\(store.directory)/uploads/preimages%2F\(String(repeating: "a", count: 64))~1"
    try Data("abc".utf8).write(to: URL(filePath: file))
    try FileManager.default.setAttributes(
      [.modificationDate: Date.now.addingTimeInterval(-172_800)],
      ofItemAtPath: file
    )
    let service = try RunningService(database.connectionString, environment: store.environment)
    #expect(try service.wait(for: "unfinished uploads removed")["count"] as? Int == 1)
    #expect(try store.names("uploads").isEmpty)
  }

  // MARK: HTTP

  @Test("GET and HEAD of what there is; 404 and 405 of what there is not")
  func paths() throws {
    let service = try RunningService(database.connectionString)
    try service.wait(for: "next cleanup")
    #expect(try service.answer("/healthz").text == "ok\n")
    #expect(try service.answer("/readyz").text == "ready\n")
    let page = try service.answer("/")
    #expect(page.status == 200 && page.fields["content-type"] == "text/html; charset=utf-8")
    #expect(page.text.hasPrefix("<!"))
    #expect(page.fields["cache-control"] == "no-store" && page.fields["x-content-type-options"] == "nosniff")
    #expect(page.fields["content-security-policy"]?.hasPrefix("default-src 'none'; style-src 'sha256-") == true)
    let metrics = try service.answer("/metrics?x=1")
    #expect(metrics.status == 200 && metrics.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
    #expect(metrics.text.contains("\njam_cleanup_runs_total{status=\"completed\"} 1\n"))
    for path in ["/", "/healthz", "/readyz", "/metrics"] {
      let head = try service.answer(path, method: "HEAD")
      #expect(head.status == 200 && head.text.isEmpty && head.fields["content-length"] != "0")
      for method in ["POST", "PUT", "DELETE"] {
        let refused = try service.answer(path, method: method)
        #expect(refused.status == 405 && refused.fields["allow"] == "GET, HEAD")
      }
    }
    for path in ["/nothing", "/metrics/", "/healthz/x", "//metrics"] {
      #expect(try service.answer(path).status == 404, "\(path)")
    }
  }

  @Test("Pages that hang keep nobody else from an answer, and those who ask meanwhile share one")
  func hangingPage() throws {
    // Not even the server's own limit ends this: only the one who holds the lock does.
    try database.connection.execute(
      """
      CREATE OR REPLACE FUNCTION jam_cleanup_preview(cutoff timestamptz DEFAULT NULL)
      RETURNS TABLE (data_class text, rows bigint, bytes bigint, oldest timestamptz, newest timestamptz)
      LANGUAGE plpgsql STABLE AS $$
      BEGIN
        LOOP
          BEGIN
            PERFORM pg_advisory_xact_lock_shared(7, 7);
            RETURN;
          EXCEPTION WHEN query_canceled THEN
          END;
        END LOOP;
      END $$;
      SELECT pg_advisory_lock(7, 7)
      """
    )
    let service = try RunningService(database.connectionString)
    try service.wait(for: "next cleanup")
    let url = try #require(URL(string: "http://\(service.address())/"))
    // Pages of their own: a session of URLs has few connections to one host.
    let browser = URLSession(configuration: .ephemeral)
    defer { browser.invalidateAndCancel() }
    for _ in 1...4 { browser.dataTask(with: url).resume() }
    let waiting: SQL = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"
    while try database.int(waiting) == 0 { usleep(5_000) }
    for _ in 1...3 {
      #expect(try service.answer("/readyz").status == 200 && service.answer("/metrics").status == 200)
    }
    #expect(try database.int(waiting) == 1)
    try database.connection.execute("SELECT pg_advisory_unlock(7, 7)")
    #expect(try service.answer("/").status == 200)
  }

  @Test("/readyz tells that files are not as applied, and that no cleanup succeeds, a line each; then that all is well")
  func readiness() throws {
    try submitExpired(3, pause: "0")
    try database.connection.execute(
      """
      UPDATE jam_retention_policy SET max_delete_fraction = 0, installed_at = now() - interval '10 days';
      UPDATE jam_schema_migrations SET checksum = 'x' WHERE name = '070_cleanup.sql'
      """
    )
    let service = try RunningService(database.connectionString)
    try service.wait(for: "next cleanup")
    #expect(try statuses() == ["refused"])
    let refused = try #require(service.events("cleanup").first)
    #expect(refused["level"] as? String == "error" && refused["status"] as? String == "refused")
    #expect(refused["run_id"] as? Int == 1 && refused["deleted_packages"] as? Int == 0)
    let lines = try service.wait(for: 503, at: "/readyz").split(separator: "\n")
    #expect(lines.count == 2 && lines[0].hasPrefix("migrations: not as applied: 070_cleanup.sql;"))
    #expect(lines[1].hasPrefix("last success: no completed cleanup yet, overdue since 20"))
    try database.connection.execute("UPDATE jam_retention_policy SET max_delete_fraction = NULL")
    try database.succeed("migrate", "up")
    #expect(try service.wait(for: 503, at: "/readyz").hasPrefix("last success"))
    try database.succeed("cleanup")
    #expect(try service.wait(for: 200, at: "/readyz") == "ready\n")
  }

  @Test("Where the files were applied with psql there is no record of them, and /readyz does without")
  func unrecorded() throws {
    try database.connection.execute("DELETE FROM jam_schema_migrations")
    let service = try RunningService(database.connectionString)
    try service.wait(for: "next cleanup")
    #expect(try service.answer("/readyz").text == "ready\n")
    try database.connection.execute("DROP TABLE jam_schema_migrations")
    #expect(try service.answer("/readyz").text == "ready\n")
  }

  @Test("What somebody can act on is said in the answer, and logged")
  func reason() throws {
    let empty = try CommandDatabase()
    let service = try RunningService(empty.connectionString)
    let text = try service.wait(for: 503, at: "/metrics")
    #expect(text.hasPrefix("database: the retention is not installed in schema public") && text.contains("migrate up"))
    let event = try service.wait(for: "request failed")
    #expect(event["level"] as? String == "warning" && event["path"] as? String == "/metrics")
    #expect((event["error"] as? String)?.hasPrefix("the retention is not installed in schema public") == true)
  }

  @Test("An address in use is an error before anything is done")
  func addressInUse() throws {
    let service = try RunningService(database.connectionString)
    let address = try service.address()
    try service.wait(for: "next cleanup")
    try database.connection.execute("TRUNCATE jam_cleanup_runs")
    service.send(SIGSTOP)
    defer { service.send(SIGCONT) }
    let result = try database.run("serve", "--listen", address)
    #expect(result.status == 1)
    #expect(result.error.contains("cannot listen on \(address): ") && result.error.contains("ddress already in use"))
    #expect(result.errorLines.count == 1 && result.error.contains("--listen"))
    #expect(try statuses().isEmpty)
  }

  @Test("An address that makes no sense is refused", arguments: ["8080", "localhost", "localhost:99999", "::1:80"])
  func badAddress(text: String) throws {
    let result = try database.run("serve", "--listen", text)
    #expect(
      result.status == 2 && result.error.contains("runtime.jam.listen (flag --listen): \"\(text)\" is not allowed")
    )
    #expect(result.error.contains("HOST:PORT"))
  }

  @Test("A host that is unknown is named")
  func unknownHost() throws {
    // An empty label is in no name, so that no name server is asked for it.
    let result = try database.run("serve", "--listen", "no-such-host..invalid:80")
    #expect(result.status == 1 && result.errorLines.count == 1)
    #expect(result.error.contains("cannot listen on no-such-host..invalid:80: Name or service not known"))
  }

  @Test("An interval that cannot keep a time of day is refused, and the time is not blamed")
  func badTime() throws {
    let variable = "environment variable RUNTIME_JAM_RETENTION_INTERVAL"
    let result = try database.run(
      "serve",
      environment: ["RUNTIME_JAM_RETENTION_TIME": "03:30", "RUNTIME_JAM_RETENTION_INTERVAL": "7h"]
    )
    #expect(result.status == 1 && result.error.contains("whole days") && !result.error.contains("\"03:30\""))
    let text = "runtime.jam.retention_interval (\(variable)): \"7h\" is not allowed"
    #expect(result.error.contains(text), "\(result.error)")
    let time = try database.run("serve", environment: ["RUNTIME_JAM_RETENTION_TIME": "25:00"])
    #expect(time.status == 1 && time.error.contains("\"25:00\" is not allowed") && !time.error.contains("interval"))
  }

  // MARK: Refusals

  @Test("A dry run of the policy that is refused is an error in the log")
  func refusedDryRun() throws {
    try database.putExpiredBlob()
    try database.connection.execute("UPDATE jam_retention_policy SET dry_run = true, max_delete_fraction = 0.5")
    let service = try RunningService(database.connectionString)
    let event = try service.wait(for: "cleanup")
    #expect(event["level"] as? String == "error" && event["status"] as? String == "refused", "\(event)")
    #expect((event["error"] as? String)?.contains("would delete 1 of 1 rows of preimages") == true)
  }

  // MARK: The database

  @Test("Where the role has no connection left, the log says so once, and once when it has")
  func connectionLimit() throws {
    let name = "serves_" + UUID().uuidString.lowercased().prefix(8)
    try database.connection.execute(
      """
      CREATE ROLE \(Identifier(name)) LOGIN CONNECTION LIMIT 1;
      GRANT SELECT ON ALL TABLES IN SCHEMA public TO \(Identifier(name));
      GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO \(Identifier(name))
      """
    )
    let service = try RunningService(database.connectionString.replacing("user=postgres", with: "user=\(name)"))
    try service.wait(for: "leadership gained")
    for _ in 1...3 {
      for path in ["/metrics", "/readyz", "/"] { #expect(try service.answer(path).status == 503) }
    }
    let event = try service.wait(for: "no session for requests")
    #expect(event["level"] as? String == "warning")
    #expect((event["error"] as? String)?.contains("too many connections for role \"\(name)\"") == true, "\(event)")
    #expect(try service.events("no session for requests").filter { $0["level"] as? String != "debug" }.count == 1)
    #expect(try service.events("requests have a session again").isEmpty)
    try database.connection.execute("ALTER ROLE \(Identifier(name)) CONNECTION LIMIT -1")
    _ = try service.wait(for: 200, at: "/metrics")
    try service.wait(for: "requests have a session again")
    service.send(SIGTERM)
    #expect(try service.end().status == 0)
    try database.connection.execute("DROP OWNED BY \(Identifier(name)); DROP ROLE \(Identifier(name))")
  }

  @Test("The database goes and comes back under it: it waits, tells, and works again")
  func restart() throws {
    let server = try EmbeddedPostgres.start(settings: [:])
    defer { server.stop() }
    let dsn = try server.createDatabase("jam")
    #expect(try Command.run(["migrate", "up", "--dsn", dsn]).status == 0)
    let service = try RunningService(dsn, environment: ["RUNTIME_JAM_RETENTION_INTERVAL": "1h"])
    try service.wait(for: "next cleanup")
    #expect(try service.wait(for: 200, at: "/readyz") == "ready\n")
    server.killHard()
    #expect(try service.wait(for: 503, at: "/readyz") == "database: cannot be reached\n")
    #expect(try service.answer("/metrics").status == 503 && service.answer("/healthz").status == 200)
    try service.wait(for: "leadership lost")
    try service.wait(for: "database not available")
    try server.restart()
    #expect(try service.wait(for: 200, at: "/readyz") == "ready\n")
    try service.wait(for: "leadership gained", count: 2)
    let connection = try Connection(ConnectionString(dsn))
    try connection.execute("UPDATE jam_cleanup_runs SET started_at = now() - interval '2 hours'")
    try service.wait(for: "cleanup", count: 2)
    service.send(SIGTERM)
    #expect(try service.end().status == 0)
  }

  @Test("A service waits for a database that is not there, is not installed, or does not let it in, and says no secret")
  func notThere() throws {
    let empty = try CommandDatabase()
    try empty.connection.execute(
      "DROP ROLE IF EXISTS carol; CREATE ROLE carol LOGIN SUPERUSER PASSWORD 'Correct-Horse'"
    )
    let asCarol = empty.connectionString.replacing("user=postgres", with: "user=carol")
    let service = try RunningService("\(asCarol) password=hunter2")
    try service.wait(for: "database not available")
    #expect(try service.wait(for: 503, at: "/readyz") == "database: cannot be reached\n")
    try empty.connection.execute("ALTER ROLE carol PASSWORD 'hunter2'")
    try service.wait(for: "schedule not readable")
    #expect(try service.wait(for: 503, at: "/readyz").hasPrefix("migrations: not installed in schema public"))
    try empty.succeed("migrate", "up")
    try service.wait(for: "next cleanup")
    service.send(SIGTERM)
    let result = try service.end()
    #expect(result.status == 0 && !result.error.contains("hunter2") && !result.error.contains("Correct-Horse"))
  }
}
