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
      report.files.value??.count
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
    #expect(report.policy.value?.first { $0.name == "retention_days" }?.value == "30")
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
    #expect(report.files.value.map { $0 == nil } == true && report.isHealthy)
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
    // A function in place of the preview tells how the report asks; rows are the milliseconds that a statement may take.
    try database.replacePreview(
      """
      SELECT current_setting('transaction_isolation') || ', read only ' || current_setting('transaction_read_only'),
        s.setting::bigint, 0::bigint, NULL::timestamptz, NULL::timestamptz
      FROM pg_settings AS s WHERE s.name = 'statement_timeout'
      """
    )
    func limit(patience: Int, budget: Duration? = nil) throws -> Int {
      let report = try database.statusReport(patience: .seconds(patience), budget: budget)
      let expiry = try #require(report.expiries.value?.first)
      #expect(expiry.dataClass == "repeatable read, read only on")
      return expiry.rows
    }
    // A statement has what its question has left, and no more than all have left.
    #expect(try (1...7000).contains(limit(patience: 7)))
    #expect(try (1...60_000).contains(limit(patience: 3600, budget: .seconds(60))))
    // The role's own limit counts where it is shorter.
    try database.connection.execute("SET statement_timeout = '3s'")
    #expect(try limit(patience: 3600) == 3000)
    #expect(try database.connection.query("SHOW statement_timeout").first?["statement_timeout"] == "3s")
    #expect(try database.connection.query("SHOW transaction_read_only").first?["transaction_read_only"] == "off")
  }

  /// Names of the questions that have no answer.
  private func gaps(_ report: StatusReport) -> Set<String> {
    Set(Mirror(reflecting: report).children.compactMap { "\($0.value)".hasPrefix("found(") ? nil : $0.label })
      .subtracting([
        "installation"
      ])
  }

  /// What does not depend on another answer.
  private static let independent: Set<String> = [
    "files", "tableSpace", "checks", "storage", "backlog", "history", "policy", "expiries", "runs", "largest",
  ]

  @Test("What takes too long is left out and said; the rest is there")
  func tookTooLong() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.put(hash(1))
    // What the server says when a statement's time is over.
    try database.breakQuestions(
      "RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = '57014'"
    )
    let report = try database.statusReport()
    #expect(gaps(report) == ["expiries", "holders"])
    #expect(report.largest.value?.count == 1 && report.refcounts.value?[hash(1)] == 1)
    let page = StatusPage(report).html.text
    #expect(page.contains("SELECT * FROM public.jam_cleanup_preview()"))
    #expect(page.contains("SELECT * FROM public.jam_referrers("))
    #expect(page.components(separatedBy: "took too long").count == 3)
  }

  @Test("The server gives up what takes longer than the patience", .timeLimit(.minutes(10)))
  func patience() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.put(hash(1))
    try database.breakQuestions("PERFORM pg_sleep(3600)")
    // Others may take too long on a busy machine.
    #expect(try gaps(database.statusReport(patience: .milliseconds(300))).isSuperset(of: ["expiries"]))
  }

  @Test(
    "When the time for all is over, nothing else is asked; the page still says what it is about",
    .timeLimit(.minutes(10))
  )
  func budget() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.put(hash(1))
    try database.breakQuestions("PERFORM pg_sleep(3600)")
    let late = try database.statusReport(patience: .seconds(3600), budget: .seconds(2))
    #expect(gaps(late).isSuperset(of: ["expiries", "largest"]))
    let none = try database.statusReport(budget: .zero)
    #expect(gaps(none) == Self.independent && !none.isHealthy)
    let page = StatusPage(none).html.text
    #expect(page.contains("<h1 class=\"bad\">Health unknown</h1>") && page.contains(database.name))
    #expect(page.components(separatedBy: "took too long to find out").count == 11)
  }

  @Test("A lock that is not given in time costs the sections that need it, and those say so")
  func lock() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.put(hash(1))
    let other = try database.connect()
    try other.execute("BEGIN; LOCK TABLE jam_storage_history, jam_retention_policy, jam_schema_migrations")
    try database.connection.execute("SET lock_timeout = '1ms'")
    let report = try database.statusReport()
    #expect(gaps(report) == ["files", "checks", "policy", "history", "expiries"] && !report.isHealthy)
    let page = StatusPage(report).html.text
    let reason =
      "could not be found out: another session holds a lock that it needs (SQLSTATE 55P03). To ask by hand: <code>"
    #expect(page.components(separatedBy: reason).count == 6)
    #expect(page.contains("The policy \(reason)jam-retention policy show</code>"))
    #expect(!page.contains("The cleanup is disabled") && !page.contains("No history yet"))
  }

  @Test("An answer that makes no sense, a missing part and a missing right cost their section alone")
  func failures() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.put(hash(1))
    try database.replacePreview("SELECT NULL, 0::bigint, 0::bigint, NULL::timestamptz, NULL::timestamptz")
    try database.connection.execute(
      """
      DELETE FROM jam_retention_policy; DROP TABLE jam_storage_history;
      CREATE ROLE \(database.reader) LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO \(database.reader);
      GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO \(database.reader); REVOKE ALL ON jam_cleanup_runs FROM \(database.reader);
      SET SESSION AUTHORIZATION \(database.reader)
      """
    )
    let report = try database.statusReport()
    #expect(gaps(report) == ["expiries", "history", "policy", "runs"])
    let page = StatusPage(report).html.text
    for reason in [
      "column &quot;data_class&quot; is NULL", "jam_storage_history&quot; does not exist",
      "the policy has no row; for one",
      "permission denied for table jam_cleanup_runs",
    ] { #expect(page.contains(reason), "\(reason)") }
    try database.connection.execute("RESET SESSION AUTHORIZATION; REVOKE ALL ON jam_health FROM \(database.reader)")
    try database.connection.execute("SET SESSION AUTHORIZATION \(database.reader)")
    let error = try #require(throws: RunnerError.self) { try database.statusReport() }
    #expect(error.description.contains("the role lacks a right"))
    try database.connection.execute(
      "RESET SESSION AUTHORIZATION; DROP OWNED BY \(database.reader); DROP ROLE \(database.reader)"
    )
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

extension TestDatabase {
  /// A role of this database's own.
  fileprivate var reader: Identifier { Identifier("\(name)_reader") }

  /// Puts a query in place of the preview's.
  fileprivate func replacePreview(_ query: SQL) throws {
    try connection.execute(
      """
      CREATE OR REPLACE FUNCTION jam_cleanup_preview(cutoff timestamptz DEFAULT NULL)
      RETURNS TABLE (data_class text, rows bigint, bytes bigint, oldest timestamptz, newest timestamptz)
      LANGUAGE sql STABLE AS \(query.dollarQuoted())
      """
    )
  }

  /// Has the preview and the search for holders do something else.
  fileprivate func breakQuestions(_ statement: SQL) throws {
    try connection.execute(
      """
      CREATE FUNCTION break() RETURNS boolean LANGUAGE plpgsql STABLE AS $$BEGIN \(statement); RETURN true; END$$;
      ALTER VIEW jam_references RENAME TO jam_references_of_rows;
      CREATE VIEW jam_references AS
        SELECT r.* FROM jam_references_of_rows AS r, (SELECT break() AS is_broken OFFSET 0) AS b WHERE b.is_broken;
      INSERT INTO jam_services (id, owner, code_hash) VALUES ('00000000-0000-0000-0000-000000000001', '', \(literal: hash(1)))
      """
    )
    try replacePreview("SELECT NULL::text, 0::bigint, 0::bigint, NULL::timestamptz, NULL::timestamptz WHERE break()")
  }
}
