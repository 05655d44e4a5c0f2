import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// Models in which what goes first frees what goes later, by way of parts.
@Suite struct ClassOrderTests {
  private static let files = Table(
    name: "files",
    columns: [
      Column("hash", "text"), Column("size", "bigint"), Column("media_type", "text", default: "''"),
      Column("data", "bytea", nullable: true), Column("created_at", "timestamptz", default: "now()"),
      Column("storage_class", "text", default: "''"), Column("refcount", "bigint", default: "0"),
    ],
    primaryKey: ["hash"]
  )

  private static func table(
    _ name: String,
    _ columns: [Column] = [],
    primaryKey: [String] = ["id"],
    foreignKeys: [(column: String, parent: String)] = []
  ) -> Table {
    Table(
      name: name,
      columns: [Column("id", "bigint"), Column("file", "text", nullable: true), Column("created_at", "timestamptz")]
        + columns + foreignKeys.map { Column($0.column, "bigint") },
      primaryKey: primaryKey,
      foreignKeys: foreignKeys.map { ForeignKey(columns: [$0.column], parent: $0.parent, parentColumns: ["id"]) }
    )
  }

  private static func model(_ mode: RefcountingMode, _ tables: [Table], _ classes: [DataClass]) -> RetentionModel {
    RetentionModel(
      prefix: "shop_",
      refcounting: mode,
      tables: [files] + tables,
      blobs: BlobTable(table: "files", plural: "files", singular: "file"),
      references: tables.map { Reference(table: $0.name, kind: .scalar(column: "file")) },
      classes: classes
    )
  }

  /// Preview, dry run and the share that may be deleted say what the real run does.
  private func expectSame(_ expected: [String: Int], _ database: TestDatabase) throws {
    let retention = database.retention
    let previewed = try Dictionary(
      uniqueKeysWithValues: retention.preview().rows.map { (try $0.string("data_class"), try $0.int("rows")) }
    )
    for (name, count) in expected { #expect(previewed[name] == count, "preview: \(name)") }
    let dry = try retention.cleanup(dryRun: true)
    for (name, count) in expected { #expect(try dry.int("deleted_\(name)") == count, "dry run: \(name)") }
    try retention.setPolicy("max_delete_fraction", to: "0.5")
    let refusal = #expect(throws: PostgresError.self) { try retention.cleanup() }
    #expect(refusal?.message.contains("would delete 2 of 3 rows of ") == true)
    try retention.setPolicy("max_delete_fraction", to: nil)
    let real = try retention.cleanup()
    for (name, count) in expected { #expect(try real.int("deleted_\(name)") == count, "real run: \(name)") }
    #expect(try real.int("freed_bytes") == dry.int("freed_bytes"))
    try database.expectLaw()
  }

  @Test(
    "A part of an earlier class keeps no row of a later one when it goes itself",
    arguments: RefcountingMode.allCases
  )
  func partOfEarlierClass(mode: RefcountingMode) throws {
    let lines = Self.table(
      "lines",
      [Column("number", "integer")],
      primaryKey: ["number", "order_id"],
      foreignKeys: [("order_id", "orders"), ("product_id", "products")]
    )
    let model = Self.model(
      mode,
      [Self.table("products"), Self.table("orders"), lines],
      [
        DataClass(name: "orders", table: "orders", parts: [DataClass.Part(name: "lines", table: "lines")]),
        DataClass(name: "products", table: "products"),
      ]
    )
    #expect(model.validate() == [])
    let database = try TestDatabase(model: model)
    _ = try database.migrate()
    // Product 2 is in orders that stay, in lines with the number of one that goes. Of products only, most go.
    try database.connection.execute(
      """
      INSERT INTO files (hash, size, created_at)
        SELECT n::text, 1, now() - CASE WHEN n < 4 THEN interval '60 days' ELSE '0' END FROM generate_series(1, 10) AS n;
      INSERT INTO products SELECT n, n::text, now() - interval '60 days' FROM generate_series(1, 3) AS n;
      INSERT INTO orders VALUES (1, NULL, now() - interval '60 days');
      INSERT INTO orders SELECT n, NULL, now() FROM generate_series(2, 10) AS n;
      INSERT INTO lines (id, created_at, number, order_id, product_id) VALUES (1, now(), 1, 1, 1), (2, now(), 2, 1, 2);
      INSERT INTO lines (id, created_at, number, order_id, product_id) SELECT n, now(), 1, n, 2 FROM generate_series(2, 10) AS n;
      """
    )
    try expectSame(["orders": 1, "lines": 2, "products": 2, "files": 2], database)
    #expect(try database.int("SELECT id FROM products") == 2)
  }

  @Test(
    "A row of an earlier class keeps no part of a later one when it goes itself",
    arguments: RefcountingMode.allCases
  )
  func childOfPart(mode: RefcountingMode) throws {
    let model = Self.model(
      mode,
      [
        Self.table("packages"), Self.table("items", foreignKeys: [("package_id", "packages")]),
        Self.table("reports", foreignKeys: [("item_id", "items")]),
      ],
      [
        DataClass(name: "reports", table: "reports"),
        DataClass(name: "packages", table: "packages", parts: [DataClass.Part(name: "items", table: "items")]),
      ]
    )
    #expect(model.validate() == [])
    let database = try TestDatabase(model: model)
    _ = try database.migrate()
    try database.connection.execute(
      """
      INSERT INTO files (hash, size, created_at)
        SELECT n::text, 1, now() - CASE WHEN n < 4 THEN interval '60 days' ELSE '0' END FROM generate_series(1, 10) AS n;
      INSERT INTO packages SELECT n, n::text, now() - interval '60 days' FROM generate_series(1, 3) AS n;
      INSERT INTO items SELECT n, NULL, now(), n FROM generate_series(1, 3) AS n;
      INSERT INTO reports VALUES (1, NULL, now() - interval '60 days', 1), (2, NULL, now() - interval '60 days', 2);
      INSERT INTO reports SELECT n, NULL, now(), 2 FROM generate_series(3, 10) AS n;
      """
    )
    try expectSame(["reports": 2, "packages": 2, "items": 2, "files": 2], database)
    #expect(try database.int("SELECT id FROM packages") == 2)
  }
}
