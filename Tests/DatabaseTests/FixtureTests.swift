import Foundation
import Postgres
import SafeSQL
import Testing

/// Real JAM traces and what an independent program says that a cleanup of them deletes.
@Suite struct FixtureTests {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../../shared/fixtures/jam-traces").standardized.path
  static let isPresent = FileManager.default.fileExists(atPath: folder)
  private static let cutoff = "2026-10-02 00:00+00"
  private static let expected = [
    "deleted_reports": 152, "deleted_attestations": 456, "deleted_packages": 152, "deleted_items": 327,
    "deleted_preimages": 1140, "freed_bytes": 672_301, "busy_preimages": 0,
  ]

  private static func load(into database: TestDatabase) throws {
    let files = [
      "jam_services", "jam_preimages", "jam_work_packages", "jam_work_items", "jam_work_reports", "jam_attestations",
    ]
    for file in files {
      let data = try Data(contentsOf: URL(filePath: "\(folder)/\(file).csv"))
      let header = String(decoding: data.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
      try database.connection.copyIn(
        "COPY \(Identifier(file)) (\(raw: header)) FROM STDIN (FORMAT csv, HEADER)",
        data: data
      )
    }
  }

  private static func installed(_ installation: Installation, withPsql: Bool) throws -> TestDatabase {
    let database = try TestDatabase(installation.refcounting)
    if installation.data == .before {
      try database.createTables()
      try load(into: database)
    }
    if withPsql { try database.migrateWithPsql() } else { _ = try database.migrate() }
    if installation.data == .after { try load(into: database) }
    try database.expectLaw()
    return database
  }

  private func figures(_ row: Row) throws -> [String: Int] {
    try Dictionary(uniqueKeysWithValues: Self.expected.keys.map { ($0, try row.int($0)) })
  }

  @Test(
    "The runner's cleanup deletes what the fixture says, after a dry run that says the same",
    arguments: Installation.all
  )
  func runner(installation: Installation) throws {
    guard Self.isPresent else { return noFixture() }
    let database = try Self.installed(installation, withPsql: false)
    #expect(try figures(database.retention.cleanup(cutoff: Self.cutoff, dryRun: true)) == Self.expected)
    #expect(try figures(database.retention.cleanup(cutoff: Self.cutoff, dryRun: false)) == Self.expected)
    try expectEnd(database)
  }

  @Test("psql alone does the same", arguments: Installation.all)
  func psql(installation: Installation) throws {
    guard Self.isPresent else { return noFixture() }
    let database = try Self.installed(installation, withPsql: true)
    for dryRun in ["true", "false"] {
      let result = try database.psql(["-At", "-c", "CALL jam_cleanup('2026-10-02 00:00+00', \(dryRun))"])
      #expect(result.output.contains("|completed|152|456|152|327|1140|672301|0"), "\(result.error)")
    }
    try expectEnd(database)
  }

  @Test("Nothing changes under default_transaction_isolation = serializable", arguments: Installation.all)
  func serializable(installation: Installation) throws {
    guard Self.isPresent else { return noFixture() }
    let database = try Self.installed(installation, withPsql: false)
    try database.connection.execute("SET default_transaction_isolation = serializable")
    #expect(try figures(database.retention.cleanup(cutoff: Self.cutoff, dryRun: true)) == Self.expected)
    #expect(try figures(database.retention.cleanup(cutoff: Self.cutoff, dryRun: false)) == Self.expected)
    try expectEnd(database)
  }

  private func expectEnd(_ database: TestDatabase) throws {
    try database.expectLaw()
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 1331)
    #expect(try database.int("SELECT sum(refcount) FROM jam_preimage_refcounts") == 597)
    let again = try database.retention.cleanup(cutoff: Self.cutoff, dryRun: false)
    #expect(try figures(again).values.allSatisfy { $0 == 0 })
  }

  private func noFixture() {
    print("jam-traces is not beside this checkout; the tests with the project's own data still run")
  }
}
