import EmbeddedPostgres
import MigrationGenerator
import Postgres
import RetentionModel
import SafeSQL
import Testing

@testable import RetentionRunner

/// What the status page asks, of whom, and what it does when an answer takes too long.
@Suite struct StatusReportTests {
  @Test("The report says what tables and views say", arguments: RefcountingMode.allCases)
  func content(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    for number in 1...12 { try database.put(hash(number), age: "60 days") }
    try database.connection.execute("UPDATE jam_preimages SET size = 5000 WHERE hash = \(literal: hash(7))")
    let package = try database.submit([hash(7), hash(7), hash(99)])
    try database.submit([hash(7)], age: "60 days")
    _ = try database.connection.query("SELECT jam_fold_references()")
    _ = try database.retention.cleanup(dryRun: true)

    let report = try database.statusReport()
    #expect(report.isHealthy && report.installation.refcounting == mode && !report.installation.isStandby)
    #expect(
      report.installation.files?.count
        == MigrationGenerator.files(for: database.model).filter { !$0.path.contains("/") }.count
    )
    let largest = try #require(report.largest.value)
    #expect(largest.count == StatusReporter.blobCount && largest[0].hash == hash(7) && largest[0].size == 5000)
    #expect(report.refcounts.value?[hash(7)] == 3)
    let holders = try #require(report.holders.value)
    #expect(holders.count == 1 && holders[0].references == 3 && holders[0].table == "jam_work_packages")
    #expect(holders[0].row.count == package.count)
    let backlog = try #require(report.backlog.value)
    #expect(
      backlog.unresolvedHashes == 1 && backlog.unresolved.map(\.hash) == [hash(99)]
        && backlog.sizes.unresolvedReferences == 1
    )
    let expiries = try #require(report.expiries.value)
    #expect(expiries.first { $0.dataClass == "packages" }?.rows == 1)
    #expect(expiries.first { $0.dataClass == "preimages" }?.rows == 11)
    let runs = try #require(report.runs.value)
    #expect(runs.total == 1 && runs.last[0].isDryRun && runs.last[0].deleted.contains { $0 == ("preimages", 11) })
    #expect(report.policy.first { $0.name == "retention_days" }?.value == "30")
    #expect(report.history.value?.isEmpty == true)
  }

  @Test("It is made where the files were applied with psql, and in a session that may only read")
  func readOnly() throws {
    let database = try TestDatabase()
    try database.migrateWithPsql()
    try database.put(hash(1))
    try database.connection.execute("SET default_transaction_read_only = on")
    let report = try database.statusReport()
    #expect(report.largest.value?.map(\.hash) == [hash(1)] && report.runs.value?.total == 0)
    #expect(report.installation.files == nil && report.isHealthy)
  }

  @Test("A standby makes it")
  func standby() throws {
    let primary = try EmbeddedPostgres.start()
    defer { primary.stop() }
    let database = try TestDatabase(model: .jam, on: primary)
    _ = try database.migrate()
    try database.put(hash(1))
    // The copy holds what is committed.
    let standby = try primary.standby()
    defer { standby.stop() }
    let session = try Connection(
      ConnectionString(standby.connectionString.replacing("dbname=postgres", with: "dbname=\(database.name)"))
    )
    let report = try database.statusReport(on: session)
    #expect(report.installation.isStandby && report.largest.value?.count == 1 && report.expiries.value != nil)
    #expect(StatusPage(report).html.text.contains("a standby"))
  }

  @Test("It is one snapshot in one read-only transaction, and leaves the session as it was")
  func snapshot() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    // A function in place of the preview tells how the report asks.
    try database.connection.execute(
      """
      CREATE OR REPLACE FUNCTION jam_cleanup_preview(cutoff timestamptz DEFAULT NULL)
      RETURNS TABLE (data_class text, rows bigint, bytes bigint, oldest timestamptz, newest timestamptz)
      LANGUAGE sql STABLE AS $$
        SELECT current_setting('transaction_isolation') || ', read only ' || current_setting('transaction_read_only')
          || ', timeout ' || current_setting('statement_timeout'), 0::bigint, 0::bigint, NULL::timestamptz, NULL::timestamptz
      $$
      """
    )
    #expect(
      try database.statusReport(patience: .seconds(7)).expiries.value?.map(\.dataClass) == [
        "repeatable read, read only on, timeout 7s"
      ]
    )
    // The role's own limit counts where it is shorter.
    try database.connection.execute("SET statement_timeout = '3s'")
    #expect(
      try database.statusReport(patience: .seconds(7)).expiries.value?.map(\.dataClass) == [
        "repeatable read, read only on, timeout 3s"
      ]
    )
    #expect(try database.connection.query("SHOW statement_timeout").first?["statement_timeout"] == "3s")
    #expect(try database.connection.query("SHOW transaction_read_only").first?["transaction_read_only"] == "off")
  }

  @Test("What takes too long is left out and said; the rest is there")
  func patience() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.put(hash(1))
    try database.connection.execute(
      """
      ALTER VIEW jam_references RENAME TO jam_references_of_rows;
      CREATE VIEW jam_references AS SELECT r.* FROM jam_references_of_rows AS r, pg_sleep(3600);
      CREATE OR REPLACE FUNCTION jam_cleanup_preview(cutoff timestamptz DEFAULT NULL)
      RETURNS TABLE (data_class text, rows bigint, bytes bigint, oldest timestamptz, newest timestamptz)
      LANGUAGE plpgsql STABLE AS $$BEGIN PERFORM pg_sleep(3600); END$$;
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes) SELECT gen_random_uuid(), id, ARRAY[\(literal: hash(1))] FROM jam_services
      """
    )
    try database.submit([hash(1)])
    let report = try database.statusReport(patience: .milliseconds(300))
    #expect(report.expiries.value == nil && report.holders.value == nil)
    #expect(report.largest.value?.count == 1 && report.refcounts.value?[hash(1)] == 1 && report.runs.value != nil)
    let page = StatusPage(report).html.text
    #expect(page.contains("SELECT * FROM public.jam_cleanup_preview()"))
    #expect(page.contains("SELECT * FROM public.jam_referrers("))
    #expect(page.components(separatedBy: "took too long").count == 3)
  }

  @Test("Somebody who interrupts it is not told that an answer took too long")
  func interruption() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let session = try database.connect()
    session.interrupt()
    let error = #expect(throws: PostgresError.self) { try database.statusReport(on: session) }
    #expect(error?.sqlState == "57014")
  }

  @Test("Where nothing is installed the error says what to do")
  func missing() throws {
    let database = try TestDatabase()
    let error = try #require(throws: RunnerError.self) { try database.statusReport() }
    #expect(error.description.contains("migrate up"))
  }
}
