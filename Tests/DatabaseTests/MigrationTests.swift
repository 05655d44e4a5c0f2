import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

@Suite struct MigrationTests {
  private func file(_ name: String, _ body: String, kind: String = "versioned") -> MigrationFile {
    MigrationFile(path: name, text: "-- \(name)\n-- kind: \(kind)\n\nBEGIN;\n\(body)\nCOMMIT;\n")
  }

  @Test("The runner applies every file once, and adopts what psql has applied")
  func adopts() throws {
    let database = try TestDatabase()
    try database.migrateWithPsql()
    try database.migrateWithPsql()
    let files = MigrationGenerator.files(for: database.model).filter { !$0.path.contains("/") }
    #expect(try database.migrate() == files.map(\.path))
    #expect(try database.migrate() == [])
  }

  @Test("Another schema works like public, installs twice and uninstalls without a trace")
  func otherSchema() throws {
    let database = try TestDatabase(schema: "Ünusual \"schema\"")
    try database.migrateWithPsql()
    try database.migrateWithPsql()
    #expect(try database.retention.cleanup()["status"] == "completed")
    let uninstall = try #require(
      MigrationGenerator.files(for: database.model).first { $0.path == "uninstall/uninstall.sql" }
    )
    try database.connection.execute("\(raw: uninstall.text)")
    #expect(
      try database.int(
        """
        SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = \(literal: #""Ünusual ""schema""""#)::regnamespace AND relkind IN ('r', 'v', 'S'))
          + (SELECT count(*) FROM pg_proc WHERE pronamespace = \(literal: #""Ünusual ""schema""""#)::regnamespace)
        """
      ) == 7
    )
    try database.migrateWithPsql()
  }

  @Test(
    "What the application had before stays when the retention goes, under the very names that the retention uses, too"
  )
  func uninstallKeepsWhatWasThere() throws {
    let database = try TestDatabase()
    let files = MigrationGenerator.files(for: database.model)
    let tables = try #require(files.first { $0.path == "010_tables.sql" })
    try database.connection.execute("\(raw: tables.text)")
    try database.connection.execute(
      """
      CREATE INDEX ON jam_work_items (package_id); CREATE INDEX ON jam_work_reports (package_id);
      CREATE INDEX ON jam_work_reports (service_id); CREATE INDEX ON jam_work_packages (service_id);
      ALTER TABLE jam_preimages ADD CHECK (refcount >= 0)
      """
    )
    let before: SQL = """
      SELECT string_agg(o.name, ' ' ORDER BY o.name) AS names
      FROM (
        SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid::regclass::text LIKE 'jam%'
        UNION ALL
        SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace
      ) AS o (name)
      """
    let names = try database.connection.query(before).first?.string("names")
    #expect(names?.contains("jam_preimages_refcount_check") == true && names?.contains("service_id_idx") == true)
    _ = try database.migrate()
    let uninstall = try #require(files.first { $0.path == "uninstall/uninstall.sql" })
    try database.connection.execute("\(raw: uninstall.text)")
    #expect(try database.connection.query(before).first?.string("names") == names)
  }

  @Test("The retention's own constraint goes with it")
  func uninstallDropsItsConstraint() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let constraints: SQL = "SELECT count(*) FROM pg_constraint WHERE conname = 'jam_preimages_refcount_check'"
    #expect(try database.int(constraints) == 1)
    let files = MigrationGenerator.files(for: database.model)
    let uninstall = try #require(files.first { $0.path == "uninstall/uninstall.sql" })
    try database.connection.execute("\(raw: uninstall.text)")
    #expect(try database.int(constraints) == 0)
  }

  @Test("The runner migrates whatever the default isolation is, and leaves it as it was")
  func otherIsolation() throws {
    let database = try TestDatabase()
    try database.connection.execute("SET default_transaction_isolation = serializable")
    _ = try database.migrate()
    let row = try database.connection.query("SHOW default_transaction_isolation").first
    #expect(row?["default_transaction_isolation"] == "serializable")
  }

  @Test("psql applies the files whatever the default isolation is, to rows that have to be counted, too")
  func otherIsolationWithPsql() throws {
    let database = try TestDatabase()
    try database.createTables()
    try database.connection.execute(
      """
      DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$;
      INSERT INTO jam_preimages (hash, size, refcount) VALUES (repeat('a', 64), 1, 7)
      """
    )
    try database.migrateWithPsql()
    #expect(try database.int("SELECT refcount FROM jam_preimages") == 0)
  }

  @Test("A failing file leaves nothing behind; those before it stay recorded")
  func failure() throws {
    let database = try TestDatabase()
    let files = [file("1.sql", "CREATE TABLE one ();"), file("2.sql", "CREATE TABLE two (); SELECT 1/0;")]
    let error = try #require(throws: RunnerError.self) { try database.migrator(files).up() }
    #expect(error.description.contains("2.sql") && error.description.contains("22012"))
    #expect(try database.int("SELECT count(*) FROM jam_schema_migrations") == 1)
    #expect(try database.int("SELECT count(*) FROM pg_class WHERE relname = 'two'") == 0)
  }

  @Test("A file that cannot be recorded leaves nothing behind: its record and its changes are one transaction")
  func record() throws {
    let database = try TestDatabase()
    _ = try database.migrator([file("1.sql", "CREATE TABLE one ();")]).up()
    try database.connection.execute("ALTER TABLE jam_schema_migrations ADD CHECK (name <> '2.sql')")
    let error = try #require(throws: RunnerError.self) {
      try database.migrator([file("1.sql", "CREATE TABLE one ();"), file("2.sql", "CREATE TABLE two ();")]).up()
    }
    #expect(error.description.contains("2.sql") && error.description.contains("23514"))
    #expect(try database.int("SELECT count(*) FROM pg_class WHERE relname = 'two'") == 0)
  }

  @Test("A changed versioned file is an error that names it; a changed repeatable one is applied again")
  func changes() throws {
    let database = try TestDatabase()
    _ = try database.migrator([file("1.sql", "SELECT 1;"), file("2.sql", "SELECT 2;", kind: "repeatable")]).up()
    let repeatable = [file("1.sql", "SELECT 1;"), file("2.sql", "SELECT 3;", kind: "repeatable")]
    #expect(try database.migrator(repeatable).up() == ["2.sql"])
    let changed = [file("0.sql", "SELECT 0;"), file("1.sql", "SELECT 4;")]
    let error = try #require(throws: RunnerError.self) { try database.migrator(changed).up() }
    #expect(error.description.contains("1.sql"))
    #expect(try database.int("SELECT count(*) FROM jam_schema_migrations") == 2)
  }

  @Test("A column of another type than the model says stops the migration, and nothing changes")
  func otherColumnType() throws {
    let database = try TestDatabase()
    try database.connection.execute("CREATE TABLE jam_preimages (hash text PRIMARY KEY, size integer)")
    let error = try #require(throws: RunnerError.self) { try database.migrate() }
    #expect(error.description.contains("jam_preimages") && error.description.contains("size"))
    #expect(try database.int("SELECT count(*) FROM pg_class WHERE relname = 'jam_services'") == 0)
  }

  @Test("Validation knows every table, view, sequence and index that is generated, and no other")
  func generatedRelations() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let found = try database.connection.query(
      """
      SELECT c.relname
      FROM pg_class AS c
      LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
      LEFT JOIN pg_class AS t ON t.oid = i.indrelid
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('c', 't')
        AND coalesce(t.relname, c.relname) <> ALL ($1)
        -- What PostgreSQL names by itself, so that it meets no other name: indexes of constraints, sequences of identities.
        AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = c.oid)
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i')
      """,
      database.model.tables.map(\.name)
    ).rows.map { try $0.string("relname") }
    #expect(Set(found) == database.model.generatedRelations)
  }

  @Test("A table that cannot be counted on stops the migration: everything that differs is named, and nothing changes")
  func adoption() throws {
    let database = try TestDatabase()
    try database.createTables()
    try database.connection.execute(
      """
      ALTER TABLE jam_preimages ALTER refcount DROP NOT NULL, ALTER size DROP NOT NULL, ALTER created_at DROP NOT NULL,
        ALTER storage_class DROP NOT NULL, ALTER media_type DROP NOT NULL;
      ALTER TABLE jam_attestations DROP CONSTRAINT jam_attestations_pkey;
      CREATE UNIQUE INDEX ON jam_attestations (report_id) INCLUDE (worker_id);
      CREATE UNIQUE INDEX ON jam_attestations (report_id, worker_id) WHERE weight > 0;
      ALTER TABLE jam_work_items ALTER memo TYPE varchar(10), DROP kind,
        ADD kind text GENERATED ALWAYS AS (params_hash) STORED;
      -- No undo inserts into this one.
      ALTER TABLE jam_services DROP owner, ADD owner text GENERATED ALWAYS AS (code_hash) STORED;
      """
    )
    let expected = [
      "column created_at of table public.jam_preimages may be NULL",
      "column kind of table public.jam_work_items is generated: leave it out of the model",
      "column memo of table public.jam_work_items is of type character varying(10), but the retention model says text",
      "column refcount of table public.jam_preimages may be NULL",
      "column size of table public.jam_preimages may be NULL",
      "column storage_class of table public.jam_preimages may be NULL",
      "table public.jam_attestations has no unique key on (report_id, worker_id)",
    ]
    let error = try #require(throws: RunnerError.self) { try database.migrate() }
    #expect(error.description.contains("what the retention relies on: \(expected.joined(separator: "; ")) ("))
    #expect(try database.int("SELECT count(*) FROM pg_class WHERE relname = 'jam_reference_ledger'") == 0)

    try database.connection.execute(
      """
      ALTER TABLE jam_preimages ALTER refcount SET NOT NULL, ALTER size SET NOT NULL, ALTER created_at SET NOT NULL,
        ALTER storage_class SET NOT NULL;
      CREATE UNIQUE INDEX ON jam_attestations (worker_id, report_id);
      ALTER TABLE jam_work_items ALTER memo TYPE text, ALTER kind DROP EXPRESSION;
      """
    )
    _ = try database.migrate()
  }

  @Test(
    "Who has read the monitoring views in an open transaction keeps no file waiting that locks a table"
  )
  func openReader() throws {
    let database = try TestDatabase()
    try database.migrateWithPsql()
    let reader = try database.connect()
    try reader.execute("BEGIN; SELECT FROM jam_health; SELECT FROM jam_metrics; SELECT FROM jam_counting_triggers")
    try database.connection.execute("SET lock_timeout = '2s'")
    for path in ["050_triggers.sql", "060_backfill.sql", "070_cleanup.sql"] {
      let file = try #require(MigrationGenerator.files(for: database.model).first { $0.path == path })
      try database.connection.execute("\(raw: file.text)")
    }
    try reader.execute("COMMIT")
  }
}
