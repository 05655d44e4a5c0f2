import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// What the policy's guards promise.
@Suite struct GuardTests {
  private func installed(packages: Int = 0) throws -> TestDatabase {
    let database = try TestDatabase()
    _ = try database.migrate()
    for number in 0..<packages {
      try database.put(hash(number), age: "60 days")
      try database.submit([hash(number)], age: "50 days")
    }
    return database
  }

  /// A cleanup that must refuse to start; returns what its record says.
  private func refusal(_ database: TestDatabase, cutoff: String? = nil) throws -> String {
    let dry = try database.retention.cleanup(cutoff: cutoff, dryRun: true)
    #expect(dry["status"] == "refused")
    let error = #expect(throws: PostgresError.self) { try database.retention.cleanup(cutoff: cutoff, dryRun: false) }
    #expect(error?.sqlState == "55000")
    let run = try #require(
      database.connection.query("SELECT * FROM jam_cleanup_runs ORDER BY id DESC LIMIT 1").first
    )
    #expect(run["status"] == "refused")
    for column in run.columns where column.hasPrefix("deleted_") { #expect(try run.int(column) == 0) }
    return try run.string("error")
  }

  @Test("max_delete_fraction: a larger share of any table is refused as a whole, an equal one is deleted")
  func maxDeleteFraction() throws {
    let database = try installed(packages: 3)
    // Half of the packages have expired; of the blobs, three in seven.
    for _ in 0..<3 { try database.submit([], age: "5 days") }
    for number in 10..<14 { try database.put(hash(number)) }
    try database.retention.setPolicy("max_delete_fraction", to: "0.49")
    #expect(try refusal(database) == "would delete 3 of 6 rows of packages, more than max_delete_fraction 0.49")
    #expect(try database.int("SELECT count(*) FROM jam_work_packages") == 6)
    // Whatever cutoff is given.
    #expect(try refusal(database, cutoff: "now").contains("max_delete_fraction"))
    try database.retention.setPolicy("max_delete_fraction", to: "0.5")
    #expect(try database.retention.cleanup(dryRun: false).int("deleted_packages") == 3)

    // A table of blobs alone is looked at, too.
    try database.connection.execute("UPDATE jam_preimages SET created_at = 'epoch'")
    try database.retention.setPolicy("max_delete_fraction", to: "0.99")
    #expect(try refusal(database).contains("4 of 4 rows of preimages"))
    try database.retention.setPolicy("max_delete_fraction", to: "0")
    #expect(try refusal(database).contains("rows of preimages"))
    try database.connection.execute("DELETE FROM jam_preimages")
    #expect(try database.retention.cleanup(dryRun: false)["status"] == "completed")
  }

  @Test("protected_statuses: packages in these states stay, and so do their items, reports and blobs")
  func protectedStatuses() throws {
    let database = try installed(packages: 3)
    try database.connection.execute(
      """
      UPDATE jam_work_packages SET status = CASE preimage_hashes WHEN ARRAY[\(literal: hash(0))] THEN 'disputed'
        WHEN ARRAY[\(literal: hash(1))] THEN 'appealed' ELSE 'done' END;
      INSERT INTO jam_work_items (id, package_id, kind, params_hash) SELECT gen_random_uuid(), id, '', '' FROM jam_work_packages;
      INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, created_at)
        SELECT gen_random_uuid(), id, service_id, '', created_at FROM jam_work_packages;
      """
    )
    try database.retention.setPolicy("protected_statuses", to: "{disputed,appealed}")
    for cutoff in [nil, "now"] {
      let dry = try database.retention.cleanup(cutoff: cutoff, dryRun: true)
      let real = try database.retention.cleanup(cutoff: cutoff, dryRun: false)
      for column in ["deleted_packages", "deleted_items", "deleted_reports", "deleted_preimages"] {
        #expect(try real.int(column) == (cutoff == nil ? 1 : 0), "\(column)")
        #expect(real[column] == dry[column], "\(column)")
      }
    }
    // A state that is protected no longer lets go at the next cleanup.
    try database.retention.setPolicy("protected_statuses", to: "{appealed}")
    let next = try database.retention.cleanup(dryRun: false)
    for column in ["deleted_packages", "deleted_items", "deleted_reports", "deleted_preimages"] {
      #expect(try next.int(column) == 1, "\(column)")
    }
    #expect(try database.int("SELECT count(*) FROM jam_work_packages WHERE status = 'appealed'") == 1)
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 1)
  }

  /// Pages belong to files, and these to cases or to none; only a case has a status.
  private static var caseModel: RetentionModel {
    var model = RetentionModel.jam
    let times = Column("created_at", "timestamptz", default: "now()")
    let blobs = model.tables.filter { $0.name == model.blobs.table }
    model.tables =
      blobs + [
        Table(
          name: "cases",
          columns: [Column("id", "integer"), Column("state", "text", default: "'open'"), times],
          primaryKey: ["id"]
        ),
        Table(
          name: "files",
          columns: [Column("id", "integer"), Column("case_id", "integer", nullable: true), times],
          primaryKey: ["id"],
          foreignKeys: [ForeignKey(columns: ["case_id"], parent: "cases", parentColumns: ["id"])]
        ),
        Table(
          name: "pages",
          columns: [Column("id", "integer"), Column("file_id", "integer"), Column("hash", "text"), times],
          primaryKey: ["id"],
          foreignKeys: [ForeignKey(columns: ["file_id"], parent: "files", parentColumns: ["id"])]
        ),
      ]
    model.references = [Reference(table: "pages", kind: .scalar(column: "hash"))]
    model.classes = [
      DataClass(name: "pages", table: "pages"),
      DataClass(name: "files", table: "files"),
      DataClass(name: "cases", table: "cases", status: "state"),
    ]
    return model
  }

  @Test("protected_statuses: a row whose parent is coming into such a state stays, however far up the parent is")
  func comesIntoProtectedStatus() throws {
    let database = try TestDatabase(model: Self.caseModel)
    _ = try database.migrate()
    try database.connection.execute(
      """
      INSERT INTO cases (id, created_at) SELECT n, 'epoch' FROM generate_series(1, 4) AS n;
      INSERT INTO files (id, case_id, created_at) SELECT n, nullif(n, 4), 'epoch' FROM generate_series(1, 4) AS n;
      INSERT INTO pages (id, file_id, hash, created_at) SELECT n, n, '', 'epoch' FROM generate_series(1, 4) AS n;
      UPDATE cases SET state = 'held' WHERE id = 4;
      """
    )
    try database.retention.setPolicy("protected_statuses", to: "{held}")
    // One case comes into the state, and the file of another, or of none, comes to a case that is in it.
    let other = try database.connect()
    try other.execute(
      "BEGIN; UPDATE cases SET state = 'held' WHERE id = 1; UPDATE files SET case_id = 4 WHERE id IN (3, 4)"
    )
    for dryRun in [true, false] {
      #expect(try database.retention.cleanup(dryRun: dryRun).int("deleted_pages") == (dryRun ? 4 : 1))
    }
    #expect(try database.int("SELECT busy_rows FROM jam_cleanup_runs WHERE NOT dry_run") == 3)
    try other.execute("COMMIT")
    for dryRun in [true, false] {
      #expect(try database.retention.cleanup(dryRun: dryRun).int("deleted_pages") == 0)
    }
    #expect(try database.connection.query("SELECT id FROM pages ORDER BY id").rows.map { $0["id"] } == ["1", "3", "4"])
    // Of what belongs to no protected case all goes, and who is locked for another reason than a change is not in the way.
    try database.connection.execute("UPDATE cases SET state = 'open'; UPDATE files SET case_id = NULL WHERE id = 3")
    try other.execute("BEGIN; SELECT FROM cases FOR KEY SHARE")
    #expect(try database.retention.cleanup().int("deleted_pages") == 3)
    try other.execute("ROLLBACK")
  }

  @Test("max_duration: what was done stays, the run says why it ended, and it is no failure")
  func maxDuration() throws {
    let database = try installed(packages: 3)
    try database.retention.setPolicy("batch_size", to: "1")
    // The clock of the test: the first batch lasts longer than the run may.
    try database.connection.execute(
      """
      UPDATE jam_retention_policy SET max_duration = '1 second';
      CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        PERFORM pg_sleep(greatest(0, 1 - extract(epoch FROM clock_timestamp() - (SELECT max(started_at) FROM public.jam_cleanup_runs))));
        RETURN OLD;
      END $$;
      CREATE TRIGGER slow BEFORE DELETE ON jam_work_packages FOR EACH ROW EXECUTE FUNCTION slow()
      """
    )
    let partial = try database.retention.cleanup()
    #expect(try partial["status"] == "partial" && partial.int("deleted_packages") == 1)
    #expect(
      try database.connection.query("SELECT error FROM jam_cleanup_runs").first?["error"] == "max_duration is over"
    )
    try database.retention.setPolicy("max_duration", to: nil)
    #expect(try database.retention.cleanup().int("deleted_packages") == 2)
  }
}
