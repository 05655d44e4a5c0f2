import Foundation
import MigrationGenerator
import NIOCore
import ObjectStore
import Postgres
import RetentionModel
import SafeSQL
import Testing

@testable import RetentionRunner

/// What the roles of `optional/roles.sql` may do, and that nobody gets further through a SECURITY DEFINER function.
@Suite(.serialized) struct RightsTests {
  private func apply(_ path: String, to database: TestDatabase) throws {
    let file = try #require(MigrationGenerator.files(for: database.model).first { $0.path == path })
    try database.connection.execute("\(raw: file.text)")
  }

  /// An installed database with the roles, which belong to the whole server: one test after the other.
  private func withRoles(_ mode: RefcountingMode, _ body: (TestDatabase) throws -> Void) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.put(hash(1), age: "60 days")
    try database.submit([hash(1)], age: "50 days")
    try apply("optional/roles.sql", to: database)
    try apply("optional/roles.sql", to: database)
    try body(database)
    try database.connection.execute("RESET ROLE; RESET ALL; DISCARD TEMP; DROP SCHEMA IF EXISTS evil CASCADE")
    try database.expectLaw()
    try apply("uninstall/roles.sql", to: database)
    #expect(try database.int("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'jam%'") == 0)
  }

  private func expectRefused(
    _ database: TestDatabase,
    _ statements: [SQL],
    _ location: SourceLocation = #_sourceLocation
  ) {
    for statement in statements {
      let error = #expect(throws: PostgresError.self, "\(statement.text)", sourceLocation: location) {
        try database.connection.execute(statement)
      }
      #expect(error?.sqlState == "42501", "\(statement.text): \(error.map { "\($0)" } ?? "")", sourceLocation: location)
    }
  }

  @Test("The application submits, uploads and touches, and does nothing else", arguments: RefcountingMode.allCases)
  func application(mode: RefcountingMode) throws {
    try withRoles(mode) { database in
      try database.connection.execute("SET ROLE jam_application")
      try database.put(hash(2))
      try database.put(hash(2))
      let package = try database.submit([hash(1), hash(2)])
      _ = try database.connection.query("UPDATE jam_work_packages SET status = 'done' WHERE id = $1::uuid", package)
      _ = try database.connection.query("SELECT jam_touch_preimages($1::text[])", [hash(1)])
      try database.connection.execute(
        "SET jam_retention.counting = 'on'; UPDATE jam_preimages SET refcount = 0, created_at = created_at"
      )
      expectRefused(
        database,
        [
          "INSERT INTO jam_reference_ledger VALUES ('x', -1)", "SELECT FROM jam_reference_ledger",
          "INSERT INTO jam_storage_ledger VALUES ('db', 1, 1)", "DELETE FROM jam_unresolved_references",
          "DELETE FROM jam_preimages", "DELETE FROM jam_work_packages",
          "TRUNCATE jam_work_packages, jam_work_items CASCADE",
          "UPDATE jam_retention_policy SET retention_days = 1", "SELECT FROM jam_cleanup_runs",
          "CALL jam_cleanup('now')", "SELECT jam_cleanup_start('now', false, false)", "SELECT jam_fold_references()",
          "SELECT jam_repair_refcounts()", "SELECT jam_verify_refcounts()", "SELECT jam_cleanup_preview()",
          "SELECT jam_cleanup_preimages_batch(1, 'now', 10, '-infinity', '')",
          "ALTER TABLE jam_work_packages DISABLE TRIGGER ALL",
          "SET session_replication_role = replica", "DROP FUNCTION jam_fold_references",
          "SELECT setval('jam_refcount_adjustments', 1)",
        ]
      )
      try database.connection.execute("RESET ROLE")
      #expect(try database.refcount(hash(1)) == 2 && database.refcount(hash(2)) == 1)
    }
  }

  @Test(
    "The application puts blobs with the program, into their rows and into the object store, and looks where they are"
  )
  func puts() async throws {
    let database = try TestDatabase(.immediate)
    _ = try database.migrate()
    // As a careful administrator has it: then a view's functions are nobody's by default, either.
    try database.connection.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
    try apply("optional/roles.sql", to: database)
    try database.retention.setPolicy("offload_threshold_bytes", to: "10")
    try await withDirectoryStore { objects in
      let store = database.blobStore(objects, options: "options='-c role=jam_application'")
      for (text, storageClass) in [("short", "db"), ("longer than the threshold", "s3")] {
        let content = ObjectContent(ByteBuffer(string: text))
        for wasThere in [false, true] {
          let put = try await store.put(content, mediaType: "", uploader: "", usesObjectStore: true)
          #expect(put.wasThere == wasThere && put.storageClass == storageClass)
        }
      }
    }
    try database.connection.execute("SET ROLE jam_reader")
    let reader = database.retention
    #expect(try reader.metrics().contains("jam_reference_ledger_entries") && reader.verify().rows.isEmpty)
    #expect(try reader.health().rows.allSatisfy { try $0.bool("ok") })
    #expect(try database.int("SELECT count(*) FROM jam_references") == 0)
    try database.connection.execute("RESET ROLE")
    try apply("uninstall/roles.sql", to: database)
  }

  @Test("Who installs without being a superuser takes the roles back, whatever else is in the schema")
  func othersObjects() throws {
    let database = try TestDatabase(.immediate)
    try database.connection.execute(
      """
      CREATE TABLE others (); CREATE FUNCTION others() RETURNS integer LANGUAGE sql RETURN 1;
      REVOKE ALL ON FUNCTION others FROM PUBLIC;
      CREATE ROLE jam_installer CREATEROLE;
      GRANT ALL ON SCHEMA public TO jam_installer WITH GRANT OPTION;
      SET ROLE jam_installer
      """
    )
    _ = try database.migrate()
    try apply("optional/roles.sql", to: database)
    try apply("uninstall/roles.sql", to: database)
    #expect(try database.int("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'jam%'") == 1)
    try database.connection.execute("RESET ROLE; DROP OWNED BY jam_installer CASCADE; DROP ROLE jam_installer")
  }

  @Test("An operator moves blobs into the object store, out of it, and sweeps")
  func moves() async throws {
    let database = try TestDatabase(.immediate)
    _ = try database.migrate()
    try apply("optional/roles.sql", to: database)
    try await withDirectoryStore { objects in
      let test = TestBlobStore(database: database, objects: objects)
      let hash = try test.putInline(Data("content".utf8))
      let store = database.blobStore(objects, options: "options='-c role=jam_operator'")
      var options = MoveOptions()
      options.minimumBytes = -1
      #expect(try await store.offload(options).moved.count == 1)
      #expect(try test.storageClass(hash) == "s3")
      #expect(try await store.restore(options).moved.count == 1)
      #expect(try await store.sweep().deleted.count == 1)
      var findings: [FsckFinding] = []
      _ = try await store.fsck(.init()) { findings.append($0) }
      #expect(findings == [])
    }
    try database.expectLaw()
    try apply("uninstall/roles.sql", to: database)
  }

  @Test("A reader looks at everything but blobs; an operator also cleans", arguments: RefcountingMode.allCases)
  func readerAndOperator(mode: RefcountingMode) throws {
    try withRoles(mode) { database in
      try database.connection.execute("SET ROLE jam_reader")
      #expect(try database.retention.preview().rows.count == 10)
      #expect(try database.retention.verify().rows.isEmpty)
      #expect(try database.retention.health().rows.allSatisfy { try $0.bool("ok") })
      #expect(try database.retention.metrics().contains("jam_preimages_bytes"))
      let report = try database.statusReport()
      #expect(report.largest.value?.map(\.hash) == [hash(1)] && report.holders.value?.map(\.references) == [1])
      #expect(report.history.value?.isEmpty == true && report.expiries.value?.count == 10 && report.isHealthy)
      #expect(try database.connection.query("SELECT * FROM jam_referrers($1)", hash(1)).rows.count == 1)
      expectRefused(
        database,
        [
          "SELECT FROM jam_preimages", "SELECT FROM jam_work_reports", "CALL jam_cleanup()",
          "SELECT jam_fold_references()",
          "UPDATE jam_retention_policy SET dry_run = true",
        ]
      )
      try database.connection.execute("RESET ROLE; SET ROLE jam_operator")
      try database.retention.setPolicy("retention_days", to: "40")
      #expect(try database.retention.cleanup(dryRun: true).int("deleted_preimages") == 1)
      #expect(try database.retention.cleanup().int("deleted_preimages") == 1)
      #expect(try database.retention.repair() == 0)
      expectRefused(
        database,
        [
          "DELETE FROM jam_preimages", "SELECT FROM jam_work_reports", "DELETE FROM jam_cleanup_runs",
          "UPDATE jam_retention_policy SET installed_at = now()",
          "INSERT INTO jam_reference_ledger VALUES ('x', 1)",
        ]
      )
    }
  }

  @Test("A reader reads the record of the files, though it came after the roles")
  func record() throws {
    try withRoles(.immediate) { database in
      try database.connection.execute("DROP TABLE jam_schema_migrations")
      #expect(try !database.migrate().isEmpty)
      try database.connection.execute("SET ROLE jam_reader")
      #expect(try database.int("SELECT count(*) FROM jam_schema_migrations") > 0)
      let migrator = try database.migrator()
      #expect(try migrator.isRecorded() && database.retention.unreadiness(migrator).isEmpty)
    }
  }

  @Test(
    "A hostile search_path, temporary tables, functions and operators of the caller are not reached",
    arguments: RefcountingMode.allCases
  )
  func hostileObjects(mode: RefcountingMode) throws {
    try withRoles(mode) { database in
      let names = [
        "hashtext", "unnest", "count", "sum", "nextval", "now", "octet_length", "current_setting", "encode",
        "convert_to",
        "pg_advisory_xact_lock_shared", "pg_try_advisory_xact_lock", "coalesce", "jam_scan_hashes",
        "has_table_privilege",
      ]
      try database.connection.execute(
        """
        CREATE TABLE stolen (by_user text);
        GRANT ALL ON stolen TO PUBLIC;
        CREATE SCHEMA evil AUTHORIZATION jam_application;
        SET ROLE jam_application;
        CREATE FUNCTION evil.trap(text) RETURNS boolean LANGUAGE sql AS $$INSERT INTO public.stolen VALUES (current_user) RETURNING true$$;
        CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap($1)$$;
        CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text);
        CREATE OPERATOR evil.<> (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text);
        CREATE FUNCTION evil.more(bigint, bigint) RETURNS bigint LANGUAGE sql AS $$SELECT CASE WHEN evil.trap('') THEN 9 END$$;
        CREATE OPERATOR evil.+ (FUNCTION = evil.more, LEFTARG = bigint, RIGHTARG = bigint);
        CREATE TEMPORARY TABLE jam_reference_ledger (hash text, delta bigint, recorded_at timestamptz, is_put boolean);
        CREATE TEMPORARY TABLE jam_preimages (LIKE public.jam_preimages);
        CREATE TEMPORARY TABLE gained (hash text, preimage_hashes text[]);
        """
      )
      for name in names {
        for type: SQL in ["text", "text[]", "bytea"] {
          try database.connection.execute(
            "CREATE FUNCTION evil.\(Identifier(name))(\(type)) RETURNS boolean LANGUAGE sql AS $$SELECT evil.trap('')$$"
          )
        }
      }
      try database.connection.execute("SET search_path = evil, pg_temp, public, pg_catalog")
      for _ in 1...2 {
        try database.connection.execute(
          """
          INSERT INTO public.jam_preimages (hash, size, data) VALUES (\(literal: hash(3)), 3, 'abc')
          ON CONFLICT (hash) DO UPDATE SET refcount = 5::bigint, size = EXCLUDED.size;
          INSERT INTO public.jam_work_packages (id, service_id, preimage_hashes)
            SELECT pg_catalog.gen_random_uuid(), s.id, ARRAY[\(literal: hash(3))] FROM public.jam_services AS s;
          UPDATE public.jam_work_packages SET preimage_hashes = preimage_hashes OPERATOR(pg_catalog.||) \(literal: hash(3))::text;
          """
        )
        _ = try database.connection.query("SELECT public.jam_touch_preimages($1::text[])", [hash(3)])
      }
      try database.connection.execute("RESET ROLE; SET ROLE jam_operator")
      _ = try database.connection.query("SELECT public.jam_fold_references()")
      _ = try database.connection.query("SELECT FROM public.jam_verify_refcounts()")
      _ = try database.connection.query("SELECT FROM public.jam_cleanup_preview()")
      try database.connection.execute("RESET ROLE; RESET search_path")
      #expect(try database.int("SELECT count(*) FROM stolen") == 0)
      #expect(try database.refcount(hash(3)) == 7)
    }
  }

  @Test("Names and payloads of any kind do no harm", arguments: RefcountingMode.allCases)
  func payloads(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    let payloads = [
      "'", "''; DROP TABLE jam_preimages; --", #"\'"#, #"\x00"#, #"E'\000'"#, "$jam$", "$$", "$jam$; SELECT 1; $jam$",
      "%", "%s%n",
      "{", "{\"a\"}", "NULL", "null", " ", "\t\n\r", "\u{1}", "\u{202E}", "🧨", String(repeating: "é", count: 5000),
      String(repeating: "a", count: 1 << 20),
    ]
    for payload in payloads {
      if payload.utf8.count <= 1024 {
        try database.put(payload)
      } else {
        let error = #expect(throws: PostgresError.self) { try database.put(payload) }
        #expect(error?.sqlState == "54000")
      }
      try database.submit([payload, payload])
      _ = try database.connection.query(
        """
        INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, refine_output_compact, traces)
        SELECT gen_random_uuid(), id, service_id, $1, convert_to($1, 'UTF8'), convert_to($1 || $1, 'UTF8') FROM jam_work_packages LIMIT 1
        """,
        payload
      )
    }
    // Too long for any key and any index: refers to nothing, and makes no fold fail.
    let random = try database.connection.query(
      "SELECT string_agg(gen_random_uuid()::text, '') AS long FROM generate_series(1, 1000)"
    ).first?.string("long")
    try database.submit([try #require(random)])
    _ = try database.connection.query("SELECT jam_fold_references()")
    try database.expectLaw()
    for payload in payloads where payload.utf8.count <= 1024 {
      #expect(try database.refcount(payload) == 2, "\(payload)")
    }
    #expect(try database.retention.cleanup(cutoff: "now")["status"] == "completed")
    try database.expectLaw()
    #expect(try database.int("SELECT count(*) FROM jam_work_packages") == 0)
  }
}
