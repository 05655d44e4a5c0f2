import Postgres
import Testing

/// A cleanup of real data deletes what an independent program says, to the last row and byte.
@Suite struct FixtureTests {
  private let dataset = Dataset.current

  private func installed(_ installation: Installation, withPsql: Bool) throws -> TestDatabase {
    let database = try TestDatabase(installation.refcounting)
    if installation.data == .before {
      try database.createTables()
      try dataset.load(into: database)
    }
    if withPsql { try database.migrateWithPsql() } else { _ = try database.migrate() }
    if installation.data == .after { try dataset.load(into: database) }
    try database.expectLaw()
    return database
  }

  private func figures(_ row: Row) throws -> [String: Int] {
    try Dictionary(uniqueKeysWithValues: dataset.expected.keys.map { ($0, try row.int($0)) })
  }

  @Test(
    "The runner's cleanup deletes what the fixture says, after a dry run that says the same",
    arguments: Installation.all
  )
  func runner(installation: Installation) throws {
    let database = try installed(installation, withPsql: false)
    #expect(try figures(database.retention.cleanup(cutoff: dataset.cutoff, dryRun: true)) == dataset.expected)
    #expect(try figures(database.retention.cleanup(cutoff: dataset.cutoff, dryRun: false)) == dataset.expected)
    try expectEnd(database)
  }

  @Test("psql alone does the same", arguments: Installation.all)
  func psql(installation: Installation) throws {
    let database = try installed(installation, withPsql: true)
    let cutoff = dataset.cutoff.map { "'\($0)'" } ?? "NULL"
    let figures = [
      "deleted_reports", "deleted_attestations", "deleted_packages", "deleted_items", "deleted_preimages",
      "freed_bytes",
      "busy_preimages",
    ].map { dataset.expected[$0].map { "\($0)" } ?? "" }
    for dryRun in ["true", "false"] {
      let result = try database.psql(["-At", "-c", "CALL jam_cleanup(\(cutoff), \(dryRun))"])
      #expect(
        result.output.contains("|completed|\(figures.joined(separator: "|"))"),
        "\(result.output) \(result.error)"
      )
    }
    try expectEnd(database)
  }

  @Test("Nothing changes under default_transaction_isolation = serializable", arguments: Installation.all)
  func serializable(installation: Installation) throws {
    let database = try installed(installation, withPsql: false)
    try database.connection.execute("SET default_transaction_isolation = serializable")
    #expect(try figures(database.retention.cleanup(cutoff: dataset.cutoff, dryRun: true)) == dataset.expected)
    #expect(try figures(database.retention.cleanup(cutoff: dataset.cutoff, dryRun: false)) == dataset.expected)
    try expectEnd(database)
  }

  private func expectEnd(_ database: TestDatabase) throws {
    try database.expectLaw()
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == dataset.blobsLeft)
    #expect(try database.int("SELECT sum(refcount) FROM jam_preimage_refcounts") == dataset.referencesLeft)
    let again = try database.retention.cleanup(cutoff: dataset.cutoff, dryRun: false)
    #expect(try figures(again).values.allSatisfy { $0 == 0 })
  }
}
