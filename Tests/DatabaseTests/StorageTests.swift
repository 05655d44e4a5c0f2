import Postgres
import RetentionModel
import RetentionRunner
import Testing

/// The totals by storage class, which metrics read instead of all blobs.
@Suite struct StorageTests {
  private func expectTotals(_ database: TestDatabase, _ location: SourceLocation = #_sourceLocation) throws {
    let wrong = try database.connection.query(
      """
      (SELECT 'db' AS storage_class, 0::bigint AS blobs, 0::bigint AS bytes WHERE NOT EXISTS (SELECT FROM jam_preimages WHERE storage_class IN ('', 'db'))
      UNION ALL
      SELECT coalesce(nullif(storage_class, ''), 'db'), count(*), sum(size)::bigint FROM jam_preimages GROUP BY 1)
      EXCEPT SELECT storage_class, blobs, bytes FROM jam_storage
      """
    )
    #expect(wrong.rows.isEmpty, "\(wrong.rows.map { "\($0)" })", sourceLocation: location)
  }

  @Test("Totals follow puts, changes, deletions, rollbacks, folds and TRUNCATE", arguments: RefcountingMode.allCases)
  func totals(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    try database.createTables()
    try database.put(hash(1))
    _ = try database.migrate()
    try expectTotals(database)
    for number in 1...4 { try database.put(hash(number)) }
    try expectTotals(database)
    try database.connection.execute("UPDATE jam_preimages SET size = 500 WHERE hash = \(literal: hash(2))")
    try database.connection.execute(
      "UPDATE jam_preimages SET storage_class = 's3', data = NULL WHERE hash = \(literal: hash(3))"
    )
    try database.connection.execute("DELETE FROM jam_preimages WHERE hash = \(literal: hash(4))")
    try database.connection.execute("BEGIN; DELETE FROM jam_preimages; ROLLBACK")
    try expectTotals(database)
    _ = try database.connection.query("SELECT jam_fold_references()")
    #expect(try database.int("SELECT count(*) FROM jam_storage_ledger") == 2)
    try expectTotals(database)
    try database.connection.execute("TRUNCATE jam_preimages")
    try expectTotals(database)
  }

  @Test("Each day's last real cleanup records the totals, a dry run does not", arguments: RefcountingMode.allCases)
  func history(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    for number in 1...3 { try database.put(hash(number), age: "\(number * 20) days") }
    try database.connection.execute(
      "UPDATE jam_preimages SET storage_class = 's3', data = NULL WHERE hash = \(literal: hash(3))"
    )
    _ = try database.retention.cleanup(dryRun: true)
    #expect(try database.int("SELECT count(*) FROM jam_storage_history") == 0)
    func history() throws -> [String] {
      try database.connection.query(
        """
        SELECT format('%s %s %s', h.storage_class, h.blobs, h.bytes) AS line FROM jam_storage_history AS h
        JOIN jam_cleanup_runs AS r ON r.finished_at = h.recorded_at AND h.recorded_on = (h.recorded_at AT TIME ZONE 'UTC')::date
        ORDER BY h.storage_class
        """
      ).rows.map { try $0.string("line") }
    }
    _ = try database.retention.cleanup(cutoff: "1970-01-01")
    #expect(try history() == ["db 2 6", "s3 1 3"])
    // Later on the same day; nothing is left of a class, and the run is not completed.
    try database.connection.execute(
      """
      UPDATE jam_retention_policy SET max_duration = '1 microsecond';
      UPDATE jam_preimages SET storage_class = 'db', data = 'abc' WHERE storage_class = 's3';
      SELECT jam_fold_references()
      """
    )
    #expect(try database.retention.cleanup()["status"] == "partial")
    #expect(try history() == ["db 3 9", "s3 0 0"])
    // An earlier day keeps its own.
    try database.connection.execute(
      "UPDATE jam_storage_history SET recorded_on = recorded_on - 1, recorded_at = recorded_at - interval '1 day'; UPDATE jam_retention_policy SET max_duration = NULL"
    )
    _ = try database.retention.cleanup()
    // One blob has expired; to put the content of another counts as a put.
    #expect(try history() == ["db 2 6"])
    #expect(try database.int("SELECT count(*) FROM jam_storage_history") == 3)
  }

  @Test("Repair corrects totals that were bypassed")
  func repair() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.connection.execute("SET session_replication_role = replica")
    try database.put(hash(1))
    try database.connection.execute("RESET session_replication_role")
    #expect(try database.int("SELECT blobs FROM jam_storage") == 0)
    _ = try database.retention.repair()
    try expectTotals(database)
  }
}
