import Foundation
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// What `pg_dump` takes away and `pg_restore` brings back.
@Suite struct DumpTests {
  enum Format: String, CaseIterable { case plain, custom }

  @Test("A restored database counts on", arguments: RefcountingMode.allCases, Format.allCases)
  func wholeDatabase(mode: RefcountingMode, format: Format) throws {
    let source = try Self.filled(mode)
    try source.connection.execute("INSERT INTO jam_cleanup_runs (dry_run, status) VALUES (false, 'running')")
    let target = try TestDatabase(mode)
    try Self.withTemporaryFile { file in
      try Self.run("pg_dump", source, ["--format", format.rawValue, "--file", file])
      switch format {
      case .plain: try #require(target.psql(["-q", "-f", file]).status == 0)
      case .custom: try Self.run("pg_restore", target, ["--jobs", "2", "--exit-on-error", file])
      }
    }
    try target.expectLaw()
    for query: SQL in [
      "SELECT c::text AS row FROM jam_preimage_refcounts AS c", "SELECT s::text AS row FROM jam_storage AS s",
    ] {
      let (restored, original) = try (target.connection.query(query).rows, source.connection.query(query).rows)
      #expect(try restored.map { try $0.string("row") }.sorted() == original.map { try $0.string("row") }.sorted())
    }
    #expect(try target.retention.health().rows.allSatisfy { try $0.bool("ok") })
    #expect(try target.migrate() == [])
    let isPublic =
      "SELECT count(*) FROM pg_proc WHERE proname = 'jam_fold_references' AND has_function_privilege('public', oid, 'EXECUTE')"
    #expect(try target.int("\(raw: isPublic)") == 0)

    // The triggers fire, and the guards hold.
    let before = try target.refcount(hash(1))
    let late = try target.refcount(hash(99))
    #expect(late == -1)
    try target.put(hash(99))
    try target.submit([hash(1), hash(1), hash(99)])
    #expect(try target.refcount(hash(1)) == before + 2)
    #expect(try target.refcount(hash(99)) == 5)
    let refused = #expect(throws: PostgresError.self) {
      try target.connection.execute("DELETE FROM jam_preimages WHERE hash = \(literal: hash(1))")
    }
    #expect(refused?.sqlState == "23503")
    try target.expectLaw()

    // A cleanup deletes what it would have deleted in the source; the numbers of runs go on.
    let expected = try source.retention.cleanup(dryRun: true)
    let real = try target.retention.cleanup()
    for column in ["status", "deleted_reports", "deleted_packages", "deleted_items", "deleted_preimages"] {
      #expect(real[column] == expected[column], "\(column)")
    }
    #expect(try real.int("deleted_packages") > 0 && real.int("deleted_preimages") > 0)
    #expect(try real.int("run_id") == 2)
    #expect(try target.int("SELECT count(*) FROM jam_cleanup_runs WHERE status = 'interrupted'") == 1)
    #expect(
      try target.int("SELECT last_value FROM jam_refcount_adjustments")
        >= source.int("SELECT last_value FROM jam_refcount_adjustments")
    )
    try target.expectLaw()
  }

  @Test(
    "The application's tables alone, loaded into an installed database, are counted",
    arguments: RefcountingMode.allCases
  )
  func applicationTables(mode: RefcountingMode) throws {
    let source = try Self.filled(mode)
    // Puts that wait in the ledger come to their own table by a fold.
    _ = try source.connection.query("SELECT jam_fold_references()")
    let target = try TestDatabase(mode)
    _ = try target.migrate()
    let tables = (source.model.tables.map(\.name) + ["jam_preimage_puts"]).map { "--table=\($0)" }
    try Self.load(source, ["--data-only"] + tables, into: target)
    try target.expectLaw()
    for number in 0...6 { #expect(try target.refcount(hash(number)) == source.refcount(hash(number))) }
    let expected = try source.retention.cleanup(dryRun: true)
    let real = try target.retention.cleanup()
    #expect(try real.int("deleted_preimages") == expected.int("deleted_preimages"))
    #expect(try real.int("deleted_preimages") > 0)
    try target.expectLaw()
  }

  @Test(
    "The retention's own data with it count twice: nothing is lost, and a repair makes it right",
    arguments: RefcountingMode.allCases
  )
  func everythingCountedTwice(mode: RefcountingMode) throws {
    let source = try Self.filled(mode)
    let target = try TestDatabase(mode)
    _ = try target.migrate()
    try Self.load(source, ["--data-only"] + Self.rowsOfEveryInstallation, into: target)
    let drift = try target.retention.verify().rows
    #expect(!drift.isEmpty)
    for row in drift { #expect(try row.int("counted") > row.int("expected")) }
    #expect(try target.retention.cleanup()["status"] == "completed")
    try target.connection.execute("SELECT jam_repair_refcounts()")
    try Self.expectRepaired(target)
  }

  @Test("With --disable-triggers the counts are those of the dump", arguments: RefcountingMode.allCases)
  func triggersDisabled(mode: RefcountingMode) throws {
    let source = try Self.filled(mode)
    let target = try TestDatabase(mode)
    _ = try target.migrate()
    try Self.load(source, ["--data-only", "--disable-triggers"] + Self.rowsOfEveryInstallation, into: target)
    try Self.expectRepaired(target)
    for number in 0...6 { #expect(try target.refcount(hash(number)) == source.refcount(hash(number))) }
    #expect(try target.retention.health().rows.allSatisfy { try $0.bool("ok") })
    try target.submit([hash(2)])
    #expect(try target.refcount(hash(2)) == source.refcount(hash(2)) + 1)
    try target.expectLaw()
  }

  /// The tables in which an installation has a row before any data come.
  private static let rowsOfEveryInstallation = [
    "--exclude-table=jam_retention_policy", "--exclude-table=jam_schema_migrations",
  ]

  /// A database with references of every state: stored, pending, and unresolved; old ones and young ones.
  private static func filled(_ mode: RefcountingMode) throws -> TestDatabase {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    for number in 1...6 { try database.put(hash(number), age: "60 days") }
    for number in 1...3 { try database.submit([hash(number), hash(number), hash(99)], age: "50 days") }
    for number in 1...2 { try database.submit([hash(number)], age: "5 days") }
    _ = try database.connection.query("SELECT jam_fold_references()")
    let package = try database.submit([hash(2), hash(99)], age: "50 days")
    _ = try database.connection.query(
      """
      INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes)
      VALUES (gen_random_uuid(), $1::uuid, '', '', ARRAY[$2::text])
      """,
      package,
      hash(4)
    )
    _ = try database.connection.query(
      """
      INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, refine_output_compact)
      SELECT gen_random_uuid(), p.id, p.service_id, '', convert_to($2, 'UTF8') FROM jam_work_packages AS p WHERE p.id = $1::uuid
      """,
      package,
      hash(5)
    )
    _ = try database.connection.query("SELECT * FROM jam_touch_preimages(ARRAY[$1::text])", hash(6))
    try database.expectLaw()
    return database
  }

  /// Takes a dump with these options and has `psql` read it.
  static func load(_ source: TestDatabase, _ options: [String], into target: TestDatabase) throws {
    try withTemporaryFile { file in
      try run("pg_dump", source, options + ["--file", file])
      let loaded = try target.psql(["-q", "-f", file])
      try #require(loaded.status == 0, "\(loaded.error)")
    }
  }

  private static func expectRepaired(_ database: TestDatabase, _ location: SourceLocation = #_sourceLocation) throws {
    try database.expectLaw(location)
    let wrong = try database.int(
      """
      SELECT count(*) FROM (
        SELECT 'db' AS storage_class, count(*) AS blobs, coalesce(sum(size), 0)::bigint AS bytes FROM jam_preimages
        EXCEPT SELECT storage_class, blobs, bytes FROM jam_storage
      ) AS d
      """
    )
    #expect(wrong == 0, "the totals of the storage are wrong", sourceLocation: location)
  }

  private static func run(_ program: String, _ database: TestDatabase, _ arguments: [String]) throws {
    let result = try TestDatabase.server.get().run(program, database: database.name, arguments: arguments)
    try #require(result.status == 0, "\(program): \(result.error)")
  }

  private static func withTemporaryFile(_ body: (String) throws -> Void) throws {
    let file = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    defer { try? FileManager.default.removeItem(atPath: file) }
    try body(file)
  }
}
