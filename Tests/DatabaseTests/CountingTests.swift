import Postgres
import RetentionModel
import SafeSQL
import Testing

@Suite struct CountingTests {
  @Test("A client's refcount is ignored", arguments: RefcountingMode.allCases)
  func ownRefcount(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.put(hash(1))
    try database.put(hash(1))
    _ = try database.connection.execute("UPDATE jam_preimages SET refcount = 7")
    #expect(try database.int("SELECT refcount FROM jam_preimages") == 0)
    #expect(try database.refcount(hash(1)) == 0)
    try database.expectLaw()
  }

  @Test("Late binding: the count is right after the fold", arguments: RefcountingMode.allCases)
  func lateBinding(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.submit([hash(1), hash(1), hash(2)])
    _ = try database.connection.query("SELECT jam_fold_references()")
    #expect(try database.int("SELECT sum(refcount) FROM jam_unresolved_references") == 3)
    try database.put(hash(1))
    _ = try database.connection.query("SELECT jam_fold_references()")
    #expect(try database.int("SELECT refcount FROM jam_preimages") == 2)
    try database.connection.execute("DELETE FROM jam_work_packages")
    try database.put(hash(2))
    _ = try database.connection.query("SELECT jam_fold_references()")
    #expect(try database.int("SELECT sum(refcount) FROM jam_preimages") == 0)
    #expect(try database.int("SELECT count(*) FROM jam_unresolved_references") == 0)
    try database.expectLaw()
  }

  @Test(
    "A blob that arrives while a fold looks gets its references from the next fold",
    arguments: RefcountingMode.allCases
  )
  func arrivalDuringFold(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    let other = try database.connect()
    try database.submit([hash(1)])
    try other.execute("BEGIN")
    _ = try other.query("INSERT INTO jam_preimages (hash, size) VALUES ($1, 1)", hash(1))
    _ = try database.connection.query("SELECT jam_fold_references()")
    try other.execute("COMMIT")
    try database.expectLaw()
    _ = try database.connection.query("SELECT jam_fold_references()")
    #expect(try database.int("SELECT refcount FROM jam_preimages") == 1)
    try database.expectLaw()
  }

  @Test("Update, upsert, cascade, rollback and TRUNCATE keep the law", arguments: RefcountingMode.allCases)
  func everyChange(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    for number in 1...4 { try database.put(hash(number)) }
    let package = try database.submit([hash(1), hash(2), hash(2)])
    _ = try database.connection.query(
      "UPDATE jam_work_packages SET preimage_hashes = ARRAY[$2, $3] WHERE id = $1::uuid",
      package,
      hash(2),
      hash(3)
    )
    try database.expectLaw()
    #expect(try [1, 2, 3].map { try database.refcount(hash($0)) } == [0, 1, 1])
    _ = try database.connection.query(
      """
      INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, refine_output_compact, traces)
      SELECT gen_random_uuid(), id, service_id, '', convert_to($1 || ' ' || $2 || '0', 'UTF8'), '\\xff'::bytea || convert_to($1, 'UTF8')
      FROM jam_work_packages
      """,
      hash(4),
      hash(1)
    )
    #expect(try database.refcount(hash(4)) == 2)
    try database.expectLaw()
    try database.connection.execute("BEGIN; DELETE FROM jam_services; ROLLBACK")
    try database.expectLaw()
    try database.connection.execute("DELETE FROM jam_services")
    #expect(try [1, 2, 3, 4].map { try database.refcount(hash($0)) } == [0, 0, 0, 0])
    try database.expectLaw()
    try database.submit([hash(1)])
    try database.connection.execute("TRUNCATE jam_preimages")
    try database.expectLaw()
    try database.put(hash(1))
    #expect(try database.refcount(hash(1)) == 1)
    for isolation: SQL in ["READ COMMITTED", "SERIALIZABLE"] {
      try database.submit([hash(1)])
      try database.connection.execute("BEGIN ISOLATION LEVEL \(isolation)")
      try database.connection.execute("TRUNCATE jam_services, jam_preimages CASCADE")
      try database.connection.execute("COMMIT")
      try database.expectLaw()
    }
    _ = try database.connection.query("SELECT jam_fold_references()")
    #expect(try database.int("SELECT count(*) FROM jam_unresolved_references") == 0)
    #expect(try database.int("SELECT count(*) FROM jam_reference_ledger") == 0)
  }

  @Test("Inline content over max_inline_bytes is refused, at a put and at a put again")
  func maxInlineBytes() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.put(hash(1))
    try database.retention.setPolicy("max_inline_bytes", to: "2")
    for number in [1, 2] {
      let error = try #require(throws: PostgresError.self) { try database.put(hash(number)) }
      #expect(
        error.sqlState == "54000" && error.message.contains("3 bytes")
          && error.hint?.contains("max_inline_bytes") == true
      )
    }
    try database.retention.setPolicy("max_inline_bytes", to: "3")
    try database.put(hash(2))
  }

  @Test("A referenced blob cannot be deleted by hand", arguments: RefcountingMode.allCases)
  func refusesDelete(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.put(hash(1))
    try database.put(hash(2))
    try database.submit([hash(1)])
    let error = try #require(throws: PostgresError.self) {
      try database.connection.execute("DELETE FROM jam_preimages WHERE hash = \(literal: hash(1))")
    }
    #expect(error.sqlState == "23503" && error.hint?.contains("jam_referrers") == true)
    try database.connection.execute("DELETE FROM jam_preimages WHERE hash = \(literal: hash(2))")
    try database.expectLaw()
  }

  @Test("A writer that is idle in its transaction makes no other submit wait", arguments: RefcountingMode.allCases)
  func hotKey(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    let idle = try database.connect()
    try database.put(hash(1))
    try database.submit([])
    try idle.execute("BEGIN")
    try database.submit([hash(1)], on: idle)
    try database.connection.execute("SET lock_timeout = '1ms'")
    for isolation: SQL in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
      try database.connection.execute("BEGIN ISOLATION LEVEL \(isolation)")
      try database.submit([hash(1)])
      try database.connection.execute("COMMIT")
    }
    try idle.execute("COMMIT")
    #expect(try database.refcount(hash(1)) == 4)
    try database.expectLaw()
  }

  @Test("Repair corrects what bypassed the triggers, and names who refers", arguments: RefcountingMode.allCases)
  func repair(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.put(hash(1))
    try database.connection.execute("SET session_replication_role = replica")
    let package = try database.submit([hash(1), hash(2)])
    try database.connection.execute("SET session_replication_role = origin")
    #expect(try database.retention.verify().rows.count == 2)
    #expect(try database.retention.repair() == 2)
    #expect(try database.refcount(hash(1)) == 1)
    try database.expectLaw()
    let referrer = try #require(database.connection.query("SELECT * FROM jam_referrers($1)", hash(1)).first)
    #expect(referrer["table_name"] == "jam_work_packages" && referrer["row_id"] == package)
  }

  @Test(
    "Blobs are looked up by their key, however few there were when a session began",
    arguments: RefcountingMode.allCases
  )
  func looksUpByKey(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.submit([])
    try database.put(hash(1))
    try database.connection.execute("VACUUM (ANALYZE)")
    let session = try database.connect()
    func use() throws {
      try session.execute(
        """
        INSERT INTO jam_work_packages (id, service_id, preimage_hashes)
          SELECT gen_random_uuid(), id, ARRAY[\(literal: hash(1)), \(literal: hash(2))] FROM jam_services;
        UPDATE jam_work_packages SET preimage_hashes = '{}' WHERE preimage_hashes <> '{}'
        """
      )
      _ = try session.query("SELECT jam_touch_preimages(ARRAY[$1])", hash(1))
      _ = try session.query("SELECT jam_blob_upload_begin($1, 3)", hash(2))
      _ = try session.query("SELECT jam_fold_references()")
    }
    // A statement with parameters has one plan for all their values after the fifth time.
    for _ in 1...6 { try use() }
    let growth: SQL = """
      INSERT INTO jam_preimages (hash, size) SELECT lpad(n::text, 64, '0'), 1 FROM generate_series(1000, 3000) AS n;
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes)
        SELECT gen_random_uuid(), id, ARRAY(SELECT lpad(n::text, 64, 'f') FROM generate_series(1000, 3000) AS n)
        FROM jam_services;
      """
    try database.connection.execute(growth)
    _ = try database.connection.query("SELECT jam_fold_references()")
    try session.execute("BEGIN")
    try use()
    let tables = try session.query(
      """
      SELECT relname, seq_scan FROM pg_stat_xact_user_tables
      WHERE relname IN ('jam_preimages', 'jam_unresolved_references') ORDER BY relname
      """
    )
    #expect(tables.rows.map { $0["seq_scan"] } == ["0", "0"])
  }

  @Test("A role that may only insert packages needs no right on the ledger", arguments: RefcountingMode.allCases)
  func rights(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.put(hash(1))
    try database.submit([])
    let role = Identifier("app_\(database.name)")
    try database.connection.execute(
      "CREATE ROLE \(role); GRANT INSERT, SELECT ON jam_work_packages, jam_services TO \(role)"
    )
    try database.connection.execute("GRANT ALL ON jam_preimages TO \(role); SET ROLE \(role)")
    try database.connection.execute("SET application_name = 'jam_retention counting'")
    try database.connection.execute("UPDATE jam_preimages SET refcount = 9")
    try database.submit([hash(1)])
    let error = try #require(throws: PostgresError.self) {
      try database.connection.execute("DELETE FROM jam_reference_ledger")
    }
    #expect(error.sqlState == "42501")
    try database.connection.execute("RESET ROLE; RESET application_name")
    #expect(try database.refcount(hash(1)) == 1)
    try database.connection.execute("DROP OWNED BY \(role); DROP ROLE \(role)")
  }
}
