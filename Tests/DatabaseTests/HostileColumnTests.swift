import Foundation
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// A model whose tables have a column of every name that the functions use themselves, for parameters and for variables.
@Suite struct HostileColumnTests {
  static func model(_ mode: RefcountingMode) throws -> RetentionModel { try model(mode, columns: namesInFunctions()) }

  /// - Parameter names: those of further columns, which each table gets as far as it has none of that name.
  private static func model(_ mode: RefcountingMode, columns names: [String]) -> RetentionModel {
    func table(_ name: String, _ columns: [Column], _ foreignKeys: [ForeignKey] = []) -> Table {
      let known = Set(columns.map(\.name))
      let more = names.filter { !known.contains($0) }.map { Column($0, "text", default: "'a column'") }
      return Table(name: name, columns: columns + more, primaryKey: [columns[0].name], foreignKeys: foreignKeys)
    }
    return RetentionModel(
      refcounting: mode,
      tables: [
        table(
          "files",
          [
            Column("hashes", "text"), Column("rows", "bigint"), Column("reasons", "text", default: "''"),
            Column("content", "bytea", nullable: true), Column("cutoff", "timestamptz"), Column("outcome", "text"),
            Column("delta", "bigint", default: "0"),
          ]
        ),
        table(
          "letters",
          [
            Column("run_id", "bigint"), Column("doomed", "text[]"), Column("content", "text"), Column("x", "jsonb"),
            Column("failed", "text"), Column("after_time", "timestamptz"),
          ]
        ),
        table(
          "pages",
          [Column("entry", "bigint"), Column("last_key", "bigint"), Column("wanted", "text")],
          [ForeignKey(columns: ["last_key"], parent: "letters", parentColumns: ["run_id"])]
        ),
      ],
      blobs: BlobTable(
        table: "files",
        plural: "files",
        singular: "file",
        key: "hashes",
        size: "rows",
        mediaType: "reasons",
        data: "content",
        createdAt: "cutoff",
        storageClass: "outcome",
        refcount: "delta"
      ),
      references: [
        Reference(table: "letters", kind: .array(column: "doomed")),
        Reference(table: "letters", kind: .scan(column: "content")),
        Reference(table: "letters", kind: .expression(sql: "x ->> 'hash'", columns: ["x"])),
        Reference(table: "pages", kind: .scalar(column: "wanted")),
      ],
      classes: [
        DataClass(
          name: "letters",
          table: "letters",
          timestamp: "after_time",
          status: "failed",
          parts: [DataClass.Part(name: "pages", table: "pages")]
        )
      ]
    )
  }

  /// The names of all parameters, variables and one-letter aliases.
  private static func namesInFunctions() throws -> [String] {
    let database = try TestDatabase(model: model(.immediate, columns: []))
    _ = try database.migrate()
    return try database.connection.query(
      #"""
      SELECT n.name
      FROM pg_proc AS p
      CROSS JOIN LATERAL (
        SELECT a.name FROM unnest(p.proargnames) AS a (name)
        UNION
        SELECT v.part[1]
        FROM regexp_matches(split_part(split_part(p.prosrc, 'DECLARE', 2), 'BEGIN', 1), '^\s*"?(\w+)"?\s', 'gn') AS v (part)
        UNION
        SELECT chr(c) FROM generate_series(ascii('a'), ascii('z')) AS c
      ) AS n
      WHERE p.pronamespace = 'public'::regnamespace AND n.name <> ''
      GROUP BY n.name
      ORDER BY n.name
      """#
    ).rows.map { try $0.string("name") }
  }

  /// All rows of the application, as texts.
  private func rows(_ database: TestDatabase) throws -> [String] {
    _ = try database.connection.query("SELECT jam_fold_references()")
    return try database.model.tables.flatMap { table in
      try database.connection.query(
        "SELECT (w.*)::text AS row FROM (SELECT * FROM \(Identifier(table.name))) AS w ORDER BY 1"
      ).rows.map { try $0.string("row") }
    }
  }

  @Test(
    "Columns may have any name that the functions use: put, touch, submit, move, clean, undo and purge",
    arguments: RefcountingMode.allCases
  )
  func wholeWay(mode: RefcountingMode) async throws {
    let names = try Self.namesInFunctions()
    let expected = ["hashes", "content", "wanted", "failed", "reasons", "lease", "buckets", "letters_count", "x"]
    #expect(Set(names).isSuperset(of: expected))
    let database = try TestDatabase(model: Self.model(mode, columns: names))
    let connection = database.connection
    #expect(database.model.validate() == [])
    try database.createTables()
    for table in database.model.tables {
      try connection.execute("ALTER TABLE \(Identifier(table.name)) ADD COLUMN \"unknown\" json DEFAULT '{\"a\":  1}'")
    }
    _ = try database.migrate()
    try database.retention.setPolicy("archive_days", to: "30")
    try database.retention.setPolicy("offload_threshold_bytes", to: "10")

    try await withDirectoryStore { objects in
      let test = TestBlobStore(database: database, objects: objects)
      let contents = ["inline", "scanned in a letter", "named by an expression", "named by a page"].map {
        Data($0.utf8)
      }
      let hashes = contents.map(\.digest)
      func expectContents() async throws {
        for content in contents { #expect(try await test.read(content.digest) == content) }
      }
      for content in contents {
        #expect(try await test.put(content).storageClass == (content.count > 10 ? "s3" : "db"))
      }
      try connection.execute(
        """
        UPDATE files SET cutoff = now() - interval '60 days';
        INSERT INTO letters (run_id, doomed, content, x, failed, after_time) VALUES
          (1, ARRAY[\(literal: hashes[0])], \(literal: hashes[1]), '{}', 'sent', now() - interval '50 days'),
          (2, ARRAY[\(literal: hashes[0])], '', '{}', 'sent', now());
        INSERT INTO pages (entry, last_key, wanted) VALUES (1, 1, \(literal: hashes[3]));
        UPDATE letters SET x = jsonb_build_object('hash', \(literal: hashes[2])) WHERE run_id = 1;
        """
      )
      try database.expectLaw()
      for isolation: SQL in ["READ COMMITTED", "REPEATABLE READ"] {
        try connection.execute("BEGIN ISOLATION LEVEL \(isolation)")
        let missing = try connection.query(
          "SELECT hash FROM jam_touch_files($1) AS m (hash)",
          [hashes[0], hash(9)]
        ).rows.map { $0["hash"] }
        try connection.execute("COMMIT")
        #expect(missing == [hash(9)])
      }
      _ = try connection.query("SELECT jam_fold_references()")
      try database.expectLaw()
      #expect(try database.int("SELECT count(*) FROM jam_file_refcounts WHERE refcount > 0 AND pending = 0") == 4)

      try await expectContents()
      var all = MoveOptions()
      all.minimumBytes = -1
      #expect(try await test.store.restore(all).moved.count == 3)
      try await expectContents()
      #expect(try await test.store.sweep().deleted.count == 3)
      #expect(try await test.offload().moved.count == 4)
      try await expectContents()

      let before = try rows(database)
      func cleanUp() throws -> Int {
        let dry = try database.retention.cleanup(dryRun: true)
        let real = try database.retention.cleanup(dryRun: false)
        for (column, count) in ["deleted_letters": 1, "deleted_pages": 1, "deleted_files": 3] {
          #expect(try dry.int(column) == count && real.int(column) == count, "\(column)")
        }
        return try real.int("run_id")
      }
      let run = try cleanUp()
      try connection.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON letters FOR EACH ROW EXECUTE FUNCTION refuse();
        """
      )
      let conflicts = try database.retention.undo(run: run).conflicts.rows
      #expect(conflicts.map { $0["reason"] } == ["not this one", "its row of letters is gone"])
      try connection.execute("DROP TRIGGER refuse ON letters")
      #expect(try database.retention.undo(run: run).conflicts.rows.isEmpty)
      #expect(try database.int("SELECT count(*) FROM jam_retention_policy WHERE dry_run") == 1)
      #expect(try rows(database) == before)
      try await expectContents()
      try database.expectLaw()

      _ = try cleanUp()
      try connection.execute("UPDATE jam_archive SET archived_at = archived_at - interval '40 days'")
      _ = try database.retention.cleanup(dryRun: false)
      #expect(try database.int("SELECT count(*) FROM jam_archive_contents") == 0)
      #expect(try await test.store.sweep().deleted.count == 3)
      #expect(try await test.names() == [hashes[0]])
      try database.expectLaw()
      #expect(try database.retention.health().rows.allSatisfy { try $0.bool("ok") })
    }
  }
}
