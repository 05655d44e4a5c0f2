import Foundation
import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// A model that shares nothing with JAM: hostile names, `bytea` keys, an expression, other classes.
@Suite struct HostileModelTests {
  private static let blobs = #"Blöbs "of" $jam$ */ everything"#
  private static let documents = "select; -- \n'drop'"
  private static let notes = String(repeating: "n", count: 63)

  static func model(_ mode: RefcountingMode) -> RetentionModel {
    RetentionModel(
      schema: #"My "Schema".x"#,
      prefix: "Präfix-",
      refcounting: mode,
      tables: [
        Table(
          name: blobs,
          columns: [
            Column("Key", "bytea"), Column("si ze", "bigint"), Column("type", "text", default: "''"),
            Column("data", "bytea", nullable: true), Column("created", "timestamptz", default: "now()"),
            Column("class", "text", default: "''"), Column("ref\"count", "bigint", default: "0"),
          ],
          primaryKey: ["Key"]
        ),
        Table(
          name: documents,
          columns: [
            Column("order", "integer"), Column("keys", "bytea[]", default: "'{}'"),
            Column("Meta", "jsonb", nullable: true),
            Column("body", "text", nullable: true), Column("at", "timestamptz", default: "now()"),
          ],
          primaryKey: ["order"]
        ),
        Table(
          name: notes,
          columns: [Column("id", "bigint"), Column("order", "integer"), Column("key", "bytea", nullable: true)],
          primaryKey: ["id"],
          foreignKeys: [ForeignKey(columns: ["order"], parent: documents, parentColumns: ["order"])]
        ),
      ],
      blobs: BlobTable(
        table: blobs,
        plural: "blobs",
        singular: "blob",
        key: "Key",
        size: "si ze",
        mediaType: "type",
        createdAt: "created",
        storageClass: "class",
        refcount: "ref\"count"
      ),
      references: [
        Reference(table: documents, kind: .array(column: "keys")),
        Reference(table: documents, kind: .scan(column: "body")),
        Reference(
          table: documents,
          kind: .expression(sql: #"decode(jsonb_array_elements_text("Meta"->'keys'), 'hex')"#, columns: ["Meta"])
        ),
        Reference(table: notes, kind: .scalar(column: "key")),
      ],
      classes: [
        DataClass(
          name: "documents",
          table: documents,
          timestamp: "at",
          parts: [DataClass.Part(name: "notes", table: notes)]
        )
      ]
    )
  }

  @Test("Hostile names, bytea keys and expressions install twice, count and clean", arguments: RefcountingMode.allCases)
  func wholeWay(mode: RefcountingMode) throws {
    let database = try TestDatabase(model: Self.model(mode))
    try database.migrateWithPsql()
    try database.migrateWithPsql()
    let names = ObjectNames(database.model)
    let blobs = names.table(Self.blobs)
    let documents = names.table(Self.documents)
    let connection = database.connection
    for byte in 1...5 {
      _ = try connection.query(
        """
        INSERT INTO \(blobs) ("Key", "si ze", created, "ref""count")
        SELECT decode(repeat(lpad($1, 2, '0'), 32), 'hex'), 1, now() - interval '60 days', 9
        """,
        String(byte)
      )
    }
    try connection.execute(
      """
      INSERT INTO \(documents) ("order", keys, "Meta", body, at)
      SELECT 1, ARRAY[decode(repeat('01', 32), 'hex'), ''::bytea, NULL],
        jsonb_build_object('keys', ARRAY[repeat('02', 32), repeat('02', 32)]), repeat('03', 32), now() - interval '50 days';
      INSERT INTO \(names.table(Self.notes)) VALUES (1, 1, decode(repeat('04', 32), 'hex'));
      """
    )
    try database.expectLaw()
    let counts = names.qualified("blob_refcounts")
    #expect(
      try connection.query("SELECT refcount FROM \(counts) ORDER BY hash").rows.map { try $0.int("refcount") } == [
        1, 2, 1, 1, 0,
      ]
    )
    try connection.execute("UPDATE \(documents) SET \"Meta\" = NULL, body = 'x' || body")
    try database.expectLaw()
    #expect(
      try connection.query("SELECT refcount FROM \(counts) ORDER BY hash").rows.map { try $0.int("refcount") } == [
        1, 0, 1, 1, 0,
      ]
    )
    let dry = try database.retention.cleanup(dryRun: true)
    let real = try database.retention.cleanup(dryRun: false)
    for column in ["deleted_documents", "deleted_notes", "deleted_blobs", "freed_bytes"] {
      #expect(try dry.int(column) == real.int(column), "\(column)")
    }
    #expect(try real.int("deleted_documents") == 1 && real.int("deleted_notes") == 1 && real.int("deleted_blobs") == 5)
    try database.expectLaw()
    #expect(try database.retention.health().rows.allSatisfy { try $0.bool("ok") })
    let metrics = try database.retention.metrics().split(separator: "\n").filter { !$0.hasPrefix("#") }
    #expect(metrics.contains { $0.hasPrefix("Pr_fix_cleanup_deleted_blobs ") })
    #expect(
      metrics.allSatisfy { $0.wholeMatch(of: #/[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? [-+0-9.e]+/#) != nil },
      "\(metrics)"
    )
  }

  @Test("Keys of bytes that begin alike share no bucket, and an empty one can be cleaned and deleted")
  func bucketsOfBytes() throws {
    let database = try TestDatabase(model: Self.model(.immediate))
    _ = try database.migrate()
    let names = ObjectNames(database.model)
    let blobs = names.table(Self.blobs)
    try database.connection.execute(
      """
      BEGIN;
      INSERT INTO \(names.table(Self.documents)) ("order", keys)
      SELECT 1, array_agg('\\x1220'::bytea || sha256(convert_to(n::text, 'UTF8'))) FROM generate_series(1, 64) AS n;
      """
    )
    let buckets = try database.int(
      "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND pid = pg_backend_pid()"
    )
    try database.connection.execute("ROLLBACK")
    #expect(buckets > 32)

    let putEmpty: SQL =
      "INSERT INTO \(blobs) (\"Key\", \"si ze\", created) VALUES (''::bytea, 1, now() - interval '60 days')"
    try database.connection.execute(putEmpty)
    #expect(try database.retention.cleanup().int("deleted_blobs") == 1)
    try database.connection.execute(putEmpty)
    try database.connection.execute("DELETE FROM \(blobs)")
    #expect(try database.int("SELECT count(*) FROM \(blobs)") == 0)
    try database.expectLaw()
  }

  @Test("An expression may read columns of types without an equality", arguments: RefcountingMode.allCases)
  func withoutEquality(mode: RefcountingMode) throws {
    var model = RetentionModel.jam
    model.refcounting = mode
    let table = try #require(model.tables.firstIndex { $0.name == "jam_work_items" })
    model.tables[table].columns += [
      Column("payload", "json", nullable: true), Column("place", "point", nullable: true),
      Column("payloads", "json[]", nullable: true), Column("page", "xml", nullable: true),
    ]
    let expression = "CASE WHEN (place[0] > 0 OR page IS NULL) AND payloads IS NULL THEN payload ->> 'hash' END"
    model.references.append(
      Reference(
        table: "jam_work_items",
        kind: .expression(sql: expression, columns: ["payload", "place", "payloads", "page"])
      )
    )
    let database = try TestDatabase(model: model)
    _ = try database.migrate()
    // As a dump restores it.
    let trigger = try #require(
      try database.connection.query(
        "SELECT pg_get_triggerdef(oid) AS text FROM pg_trigger WHERE tgname = 'jam_work_items_count_update'"
      ).first?.string("text")
    )
    try database.connection.execute("DROP TRIGGER jam_work_items_count_update ON jam_work_items; \(raw: trigger)")

    let package = try database.submit([])
    for number in 1...2 { try database.put(hash(number)) }
    _ = try database.connection.query(
      """
      INSERT INTO jam_work_items (id, package_id, kind, params_hash, payload)
      VALUES (gen_random_uuid(), $1::uuid, '', '', json_build_object('hash', $2::text))
      """,
      package,
      hash(1)
    )
    func expect(_ update: SQL, _ counts: [Int], _ location: SourceLocation = #_sourceLocation) throws {
      try database.connection.execute("UPDATE jam_work_items SET \(update)")
      try database.expectLaw(location)
      #expect(try [database.refcount(hash(1)), database.refcount(hash(2))] == counts, sourceLocation: location)
    }
    try expect("memo = 'the same'", [1, 0])
    try expect("payload = json_build_object('hash', \(literal: hash(2)))", [0, 1])
    try expect("payload = NULL, place = point(1, 1)", [0, 0])
    try expect("payload = json_build_object('hash', \(literal: hash(2)))", [0, 1])
    try expect("payloads = ARRAY['null']::json[]", [0, 0])
    try expect("payloads = NULL", [0, 1])
  }

  @Test("A type in capitals is the same type: keys of BYTEA, and content that is scanned")
  func typesInCapitals() throws {
    for model in [Self.model(.immediate), .jam] {
      var model = model
      for table in model.tables.indices {
        for column in model.tables[table].columns.indices {
          model.tables[table].columns[column].type = model.tables[table].columns[column].type.uppercased()
        }
      }
      #expect(model.validate() == [])
      let database = try TestDatabase(model: model)
      _ = try database.migrate()
      #expect(try database.retention.cleanup()["status"] == "completed")
      try database.expectLaw()
    }
  }

  @Test("The same model gives the same bytes, and no generated name is longer than PostgreSQL keeps")
  func sameBytes() {
    #expect(Self.model(.immediate).validate() == [])
    #expect(
      MigrationGenerator.files(for: Self.model(.immediate)) == MigrationGenerator.files(for: Self.model(.immediate))
    )
  }
}
