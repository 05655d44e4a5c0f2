import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// What triggers, policies and inheritance of the application do to counting and cleaning: nothing, or an error.
@Suite struct ApplicationRulesTests {
  @Test(
    "A trigger that keeps blob rows as they are loses no count: a fold and a cleanup fail until it is gone",
    arguments: RefcountingMode.allCases,
    ["NULL", "OLD"]
  )
  func suppressedCount(mode: RefcountingMode, result: String) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.put(hash(1), age: "90 days")
    try database.connection.execute(
      """
      CREATE FUNCTION write_once() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN \(raw: result); END$$;
      CREATE TRIGGER write_once BEFORE UPDATE ON jam_preimages FOR EACH ROW EXECUTE FUNCTION write_once();
      """
    )
    try database.submit([hash(1)])
    try database.expectLaw()
    let fold = #expect(throws: PostgresError.self) {
      try database.connection.execute("SELECT jam_fold_references()")
    }
    #expect(fold?.sqlState == "27000")
    let cleanup = #expect(throws: PostgresError.self) { try database.retention.cleanup() }
    #expect(cleanup?.sqlState == "27000")
    try database.expectLaw()
    try database.connection.execute("DROP TRIGGER write_once ON jam_preimages")
    #expect(try database.retention.cleanup().int("deleted_preimages") == 0)
    #expect(try database.refcount(hash(1)) == 1)
  }

  @Test(
    "A trigger that keeps a package keeps its items and their blobs too: the run fails and says why",
    arguments: [0, 7]
  )
  func heldRow(archiveDays: Int) throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.retention.setPolicy("archive_days", to: "\(archiveDays)")
    try database.put(hash(1), age: "90 days")
    let package = try database.submit([], age: "90 days")
    _ = try database.connection.query(
      """
      INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes)
      VALUES (gen_random_uuid(), $1::uuid, '', '', ARRAY[$2])
      """,
      package,
      hash(1)
    )
    try database.connection.execute(
      """
      CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
      CREATE TRIGGER hold BEFORE DELETE ON jam_work_packages FOR EACH ROW EXECUTE FUNCTION hold();
      """
    )
    let error = try #require(throws: PostgresError.self) { try database.retention.cleanup() }
    #expect(
      error.sqlState == "27000"
        && "\(error)".contains("a trigger keeps 1 of 1 expired rows of public.jam_work_packages")
    )
    #expect(try database.int("SELECT count(*) FROM jam_work_items") == 1)
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 1)
    try database.expectLaw()
  }

  @Test("Rows that row-level security hides from the owner are an error, not taken for none")
  func forcedRowSecurity() throws {
    let database = try TestDatabase()
    let owner: SQL = "row_owner"
    try database.connection.execute(
      """
      DO $$BEGIN IF to_regrole('row_owner') IS NULL THEN CREATE ROLE row_owner; END IF; END$$;
      GRANT CREATE, USAGE ON SCHEMA public TO \(owner);
      SET ROLE \(owner);
      """
    )
    _ = try database.migrate()
    try database.put(hash(1), age: "90 days")
    try database.submit([hash(1)])
    try database.connection.execute(
      """
      SELECT jam_fold_references();
      ALTER TABLE jam_work_packages ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
      """
    )
    for statement in [
      "SELECT * FROM jam_verify_refcounts()", "SELECT jam_repair_refcounts()", "SELECT * FROM jam_cleanup_preview()",
      "CALL jam_cleanup(now() - interval '1 day')",
    ] as [SQL] {
      let error = #expect(throws: PostgresError.self) { try database.connection.execute(statement) }
      #expect(error?.sqlState == "42501")
    }
    let migration = try #require(throws: RunnerError.self) {
      try database.connection.execute("DELETE FROM jam_schema_migrations WHERE name = '005_adoption.sql'")
      _ = try database.migrate()
    }
    #expect(migration.description.contains("table public.jam_work_packages hides rows from its owner"))
    try database.connection.execute("ALTER TABLE jam_work_packages NO FORCE ROW LEVEL SECURITY")
    try database.expectLaw()
    #expect(try database.retention.cleanup().int("deleted_preimages") == 0)
  }

  @Test("Tables with rows that no trigger sees are not adopted")
  func hiddenRows() throws {
    let database = try TestDatabase()
    try database.createTables()
    try database.connection.execute("CREATE TABLE old_items () INHERITS (jam_work_items)")
    let error = try #require(throws: RunnerError.self) { try database.migrate() }
    #expect(error.description.contains("table public.jam_work_items has tables that inherit from it"))
    try database.connection.execute(
      """
      DROP TABLE old_items, jam_work_items;
      CREATE TABLE jam_work_items (id uuid, package_id uuid NOT NULL, kind text NOT NULL, params_hash text NOT NULL,
        preimage_hashes text[] NOT NULL, max_fee bigint NOT NULL, memo text NOT NULL, PRIMARY KEY (id)) PARTITION BY HASH (id)
      """
    )
    let partitioned = try #require(throws: RunnerError.self) { try database.migrate() }
    #expect(partitioned.description.contains("table public.jam_work_items is partitioned"))
  }

  @Test("A table that a crash would empty is not adopted: the counts would outlive its rows, or go without them")
  func unloggedTable() throws {
    let database = try TestDatabase()
    try database.createTables()
    try database.connection.execute("ALTER TABLE jam_work_items SET UNLOGGED")
    let error = try #require(throws: RunnerError.self) { try database.migrate() }
    #expect(error.description.contains("table public.jam_work_items is not logged"))
    try database.connection.execute("ALTER TABLE jam_work_items SET LOGGED")
    _ = try database.migrate()
  }
}
