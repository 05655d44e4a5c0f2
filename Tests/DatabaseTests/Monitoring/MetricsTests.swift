import EmbeddedPostgres
import Foundation
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// The view `jam_metrics`: its form, its promise that counters never go back, and each figure's cause.
@Suite struct MetricsTests {
  /// Every sample by its name and labels.
  private func samples(_ connection: Connection) throws -> [String: Double] {
    let rows = try connection.query("SELECT name, labels, value FROM jam_metrics").rows
    return try Dictionary(
      uniqueKeysWithValues: rows.map { row in
        let labels = try row.string("labels")
        return (try row.string("name") + (labels.isEmpty ? "" : "{\(labels)}"), try row.double("value"))
      }
    )
  }

  private func counters(_ connection: Connection) throws -> [String: Double] {
    let names = Set(
      try connection.query("SELECT name FROM jam_metrics WHERE type = 'counter'").rows.map { try $0.string("name") }
    )
    return try samples(connection).filter { names.contains(String($0.key.prefix { $0 != "{" })) }
  }

  /// None of the counters is smaller now.
  private func expectNoneWentBack(
    _ before: [String: Double],
    _ after: [String: Double],
    _ location: SourceLocation = #_sourceLocation
  ) {
    #expect(before.count > 10 && after.keys == before.keys, sourceLocation: location)
    for (name, value) in before {
      #expect(after[name] ?? -1 >= value, "\(name) went back from \(value)", sourceLocation: location)
    }
  }

  @Test(
    "promtool finds nothing but the three names of the contract",
    .enabled("promtool is not installed") { try Promtool.isInstalled() }
  )
  func form() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    // A storage class is the client's to choose.
    try database.put(hash(1))
    try database.connection.execute(
      #"UPDATE jam_preimages SET storage_class = E'a "quoted" \\ class\non two lines'"#
    )
    // These three are named in the contract without the suffix that Prometheus advises for counters, and dashboards rely
    // on them.
    let contract = ["preimages", "packages", "reports"].map {
      "jam_cleanup_deleted_\($0) counter metrics should have \"_total\" suffix"
    }
    let text = try database.retention.metrics()
    #expect(try Promtool.findings(inMetrics: text).sorted() == contract.sorted())
    #expect(text.contains(#"jam_preimages_rows{storage_class="a \"quoted\" \\ class\non two lines"} 1"#))
    // It is really asked.
    #expect(try Promtool.findings(inMetrics: text.replacing("# HELP jam_blob_uploads ", with: "# ")).count > 3)
  }

  @Test("The names of the contract are there, and every metric is one group of lines with help and type")
  func names() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.put(hash(1))
    try database.connection.execute(
      "UPDATE jam_preimages SET storage_class = 'glacier'; INSERT INTO jam_preimages (hash, size) VALUES ('x', 1)"
    )
    let lines = try database.retention.metrics().split(separator: "\n")
    let samples = lines.filter { !$0.hasPrefix("#") }.map { $0.prefix { $0 != "{" && $0 != " " } }
    let groups = samples.reduce(into: [Substring]()) { if $0.last != $1 { $0.append($1) } }
    #expect(groups.count == Set(groups).count, "a metric's lines are apart")
    for kind in ["HELP", "TYPE"] {
      let described = lines.compactMap {
        $0.firstMatch(of: try! Regex("^# \(kind) (\\S+) ", as: (Substring, Substring).self))?.1
      }
      #expect(described == groups)
    }
    let contract = [
      "cleanup_runs_total", "cleanup_deleted_preimages", "cleanup_deleted_packages", "cleanup_deleted_reports",
      "preimage_refcount_adjust_total", "cleanup_last_success_timestamp_seconds", "cleanup_overdue_timestamp_seconds",
      "cleanup_last_duration_seconds",
      "refcount_anomalies_total", "reference_ledger_entries", "reference_ledger_oldest_seconds",
      "unresolved_references",
      "preimages_rows", "preimages_bytes", "blob_deletions_pending",
    ]
    #expect(Set(contract.map { "jam_\($0)" }).isSubset(of: groups.map(String.init)))
  }

  @Test("Counters go on after restarts and SIGKILL of the server, in the middle of cleanups too")
  func crashes() throws {
    let server = try EmbeddedPostgres.start(settings: ["fsync": "on"])
    defer { server.stop() }
    let database = try TestDatabase(on: server)
    _ = try database.migrate()
    for number in 1...40 {
      try database.put(hash(number), age: "60 days")
      try database.submit([hash(number)], age: "50 days")
    }
    try database.retention.setPolicy("batch_size", to: "2")
    var before = try counters(database.connection)
    for batches in [3, 12, 30] {
      let victim = try database.connect()
      Thread { _ = try? victim.query("CALL jam_cleanup()") }.start()
      let watcher = try database.connect()
      var seen = before
      while try seen["jam_cleanup_batches_total", default: 0] < Double(batches)
        && watcher.query("SELECT FROM jam_cleanup_runs WHERE status = 'completed'").rows.isEmpty
      {
        let now = try counters(watcher)
        expectNoneWentBack(seen, now)
        seen = now
      }
      server.killHard()
      try server.restart()
      let observer = try database.connect()
      let after = try counters(observer)
      observer.close()
      expectNoneWentBack(seen, after)
      before = after
    }
    let observer = try database.connect()
    #expect(try observer.query("CALL jam_cleanup()").first?["status"] == "completed")
    let end = try counters(observer)
    expectNoneWentBack(before, end)
    // Nothing is counted twice, and nothing is missing.
    #expect(end["jam_cleanup_deleted_packages"] == 40 && end["jam_cleanup_deleted_preimages"] == 40)
    #expect(end["jam_cleanup_freed_bytes_total"] == 120)
    #expect(end["jam_cleanup_runs_total{status=\"completed\"}"] ?? 0 >= 1)
    try server.restart()
    #expect(try counters(database.connect()) == end)
  }

  @Test("Counters go on when records are deleted, and begin with what was recorded before an upgrade")
  func purged() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    for number in 1...3 {
      try database.put(hash(number), age: "60 days")
      try database.submit([hash(number)], age: "50 days")
    }
    #expect(try database.retention.cleanup(dryRun: true).int("deleted_packages") == 3)
    #expect(try counters(database.connection)["jam_cleanup_deleted_packages"] == 0)
    _ = try database.retention.cleanup()
    try database.connection.execute(
      """
      INSERT INTO jam_refcount_anomalies (hash, stored, delta) SELECT 'x', 0, -1 FROM generate_series(1, 5);
      INSERT INTO jam_cleanup_runs (dry_run, status) VALUES (false, 'skipped'), (false, 'skipped');
      """
    )
    let before = try counters(database.connection)
    #expect(before["jam_cleanup_deleted_packages"] == 3 && before["jam_cleanup_deleted_preimages"] == 3)
    #expect(before["jam_refcount_anomalies_total"] == 5 && before["jam_cleanup_runs_total{status=\"skipped\"}"] == 2)
    #expect(before["jam_cleanup_runs_total{status=\"completed\"}"] == 1)
    // As if the totals came with an upgrade.
    func totals() throws -> [String] {
      let sums: SQL = "SELECT counter || ' ' || sum(value) AS total FROM jam_totals GROUP BY counter ORDER BY counter"
      return try database.connection.query(sums).rows.map { try $0.string("total") }
    }
    let kept = try totals()
    try database.connection.execute("DELETE FROM jam_totals")
    try database.migrateWithPsql()
    try database.migrateWithPsql()
    #expect(try totals() == kept)
    #expect(try counters(database.connection) == before)

    try database.connection.execute("DELETE FROM jam_cleanup_runs; DELETE FROM jam_refcount_anomalies")
    #expect(try counters(database.connection) == before)
    try database.connection.execute("TRUNCATE jam_cleanup_runs, jam_refcount_anomalies")
    #expect(try counters(database.connection) == before)
    // A correction by hand takes nothing back either.
    _ = try database.retention.cleanup()
    let after = try counters(database.connection)
    expectNoneWentBack(before, after)
    try database.connection.execute("UPDATE jam_cleanup_runs SET deleted_packages = 0, batches = 0")
    #expect(try counters(database.connection) == after)
  }

  @Test("Runs that end at once add up without waiting for each other")
  func concurrentTotals() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    _ = try database.retention.cleanup()
    let other = try database.connect("options='-c lock_timeout=2s'")
    let add: SQL = "INSERT INTO jam_cleanup_runs (dry_run, status, deleted_packages) VALUES (false, 'failed', 2)"
    try database.connection.execute("BEGIN")
    try database.connection.execute(add)
    try other.execute(add)
    try database.connection.execute("COMMIT")
    try database.connection.execute("BEGIN; \(add); ROLLBACK")
    #expect(try samples(other)["jam_cleanup_deleted_packages"] == 4)
    #expect(try samples(other)["jam_cleanup_runs_total{status=\"failed\"}"] == 2)
    try other.execute(add)
    #expect(try samples(other)["jam_cleanup_deleted_packages"] == 6)
    #expect(try database.int("SELECT count(*) FROM jam_totals WHERE counter = 'deleted_packages'") == 1)
  }

  @Test("Each gauge follows what it tells of")
  func gauges() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let connection = database.connection
    func value(_ name: String) throws -> Double { try #require(samples(connection)["jam_\(name)"]) }
    #expect(try samples(connection).filter { $0.key.hasPrefix("jam_health_ok") }.allSatisfy { $0.value == 1 })
    #expect(try value("cleanup_last_success_timestamp_seconds") == 0)
    _ = try database.retention.cleanup()
    let now = try #require(connection.query("SELECT extract(epoch FROM now())::double precision AS now").first)
    #expect(try abs(value("cleanup_last_success_timestamp_seconds") - now.double("now")) < 3600)

    let success = try value("cleanup_last_success_timestamp_seconds")
    #expect(try value("cleanup_overdue_timestamp_seconds") == success + 2 * 86400 + 60)
    try connection.execute("SET jam_retention.cleanup_interval = '7 days'")
    #expect(try value("cleanup_overdue_timestamp_seconds") == success + 14 * 86400 + 60)
    try connection.execute("RESET jam_retention.cleanup_interval; UPDATE jam_retention_policy SET dry_run = true")
    _ = try database.retention.cleanup()
    #expect(try value("cleanup_last_success_timestamp_seconds") > success)
    try connection.execute("UPDATE jam_retention_policy SET dry_run = false")
    #expect(try value("cleanup_last_success_timestamp_seconds") == success)

    #expect(try value("cleanup_running_seconds") == 0)
    try connection.execute(
      "INSERT INTO jam_cleanup_runs (dry_run, status, started_at) VALUES (false, 'running', now() - interval '1 hour')"
    )
    #expect(try 3600..<7200 ~= value("cleanup_running_seconds"))

    #expect(try value("counting_triggers_disabled") == 0)
    try connection.execute("ALTER TABLE jam_work_packages DISABLE TRIGGER jam_work_packages_count_insert")
    #expect(try value("counting_triggers_disabled") == 1 && value("health_ok{check=\"triggers\"}") == 0)
    try connection.execute("ALTER TABLE jam_work_packages ENABLE TRIGGER jam_work_packages_count_insert")

    try connection.execute("UPDATE jam_retention_policy SET reports_retention_days = 7, dry_run = true")
    #expect(try value("policy_retention_seconds{data_class=\"reports\"}") == 7 * 86400)
    #expect(try value("policy_retention_seconds{data_class=\"packages\"}") == 30 * 86400)
    #expect(try value("policy_dry_run") == 1 && value("policy_enabled") == 1)
    try connection.execute("UPDATE jam_retention_policy SET retention_days = 0")
    #expect(try value("policy_retention_seconds{data_class=\"reports\"}") == 0 && value("policy_enabled") == 0)
    #expect(try value("cleanup_overdue_timestamp_seconds") == 0)
    #expect(try value("health_ok{check=\"policy\"}") == 0)

    try connection.execute(
      """
      INSERT INTO jam_reference_ledger (hash, delta, recorded_at) VALUES ('a', 1, now() - interval '3 days'), ('b', 1, now());
      INSERT INTO jam_unresolved_references VALUES ('c', 4), ('d', 5);
      INSERT INTO jam_blob_deletions (hash, generation, size, queued_at, last_error)
        VALUES ('e', 0, 70, now() - interval '3 days', 'no answer'), ('f', 0, 30, now(), NULL);
      INSERT INTO jam_blob_uploads (hash, generation, size, media_type, uploader, is_offload, expires_at)
        VALUES ('g', 0, 1, '', '', false, now());
      """
    )
    #expect(try value("reference_ledger_entries") == 2 && value("unresolved_references") == 9)
    #expect(try value("blob_deletions_pending") == 2 && value("blob_deletions_pending_bytes") == 100)
    #expect(try value("blob_uploads") == 1)
    for age in ["reference_ledger_oldest_seconds", "blob_deletions_oldest_seconds"] {
      #expect(try 259_200..<262_800 ~= value(age), "\(age)")
    }
    #expect(
      try value("health_ok{check=\"ledger backlog\"}") == 0 && value("health_ok{check=\"object deletions\"}") == 0
    )
    let detail = try connection.query("SELECT detail FROM jam_health WHERE check_name = 'object deletions'").first
    #expect(
      try #require(detail).string("detail").contains("2 objects") && detail?["detail"]?.contains("no answer") == true
    )
  }

  @Test("A scrape reads a bounded part of long queues and no row of the application's tables")
  func bounded() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let rows = 200_000
    try database.connection.execute(
      """
      SET session_replication_role = replica;
      INSERT INTO jam_services (id, owner, code_hash) VALUES (md5('s')::uuid, '', '');
      INSERT INTO jam_work_packages (id, service_id) SELECT gen_random_uuid(), md5('s')::uuid FROM generate_series(1, \(rows));
      INSERT INTO jam_preimages (hash, size) SELECT 'h' || n, 1 FROM generate_series(1, \(rows)) AS n;
      INSERT INTO jam_reference_ledger (hash, delta) SELECT md5(n::text), 1 FROM generate_series(1, \(rows)) AS n;
      INSERT INTO jam_unresolved_references SELECT md5(n::text), 2 FROM generate_series(1, \(rows)) AS n;
      INSERT INTO jam_blob_deletions (hash, generation, size) SELECT md5(n::text), 0, 10 FROM generate_series(1, \(rows)) AS n;
      INSERT INTO jam_cleanup_runs (dry_run, status, started_at, finished_at)
        SELECT false, 'completed', now() - n * interval '1 minute', now() - n * interval '1 minute' FROM generate_series(1, \(rows)) AS n;
      RESET session_replication_role;
      ANALYZE;
      """
    )
    let found = try samples(database.connection)
    func expectAbout(_ expected: Int, _ name: String) throws {
      let share = try #require(found[name]) / Double(expected)
      #expect(0.98...1.02 ~= share, "\(name): \(found[name] ?? -1), not about \(expected)")
    }
    try expectAbout(rows, "jam_reference_ledger_entries")
    try expectAbout(2 * rows, "jam_unresolved_references")
    try expectAbout(rows, "jam_blob_deletions_pending")
    try expectAbout(10 * rows, "jam_blob_deletions_pending_bytes")

    let plan = try database.connection.query("EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json) TABLE jam_metrics")
      .first
    let text = try #require(plan?["QUERY PLAN"])
    let plans = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
    let root = try #require(plans.first?["Plan"] as? [String: Any])
    let blocks = try ["Shared Hit Blocks", "Shared Read Blocks"].map { try #require(root[$0] as? Int) }.reduce(0, +)
    let largest = try database.int("SELECT max(relpages) FROM pg_class")
    #expect(blocks < 1000 && largest > 2000, "\(blocks) blocks read, the largest table has \(largest)")
    // Compiling it would take longer than running it.
    #expect(plans.first?["JIT"] == nil)
    for table in ["jam_work_packages", "jam_preimages\""] { #expect(!text.contains(table), "\(table) is read") }
  }
}
