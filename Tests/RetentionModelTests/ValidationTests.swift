import RetentionModel
import Testing

@Suite struct ValidationTests {
  struct Mistake: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let path: String
    let change: @Sendable (inout RetentionModel) -> Void

    init(_ description: String, _ path: String, _ change: @escaping @Sendable (inout RetentionModel) -> Void) {
      testDescription = description
      self.path = path
      self.change = change
    }
  }

  static let mistakes = [
    Mistake("empty schema", "schema") { $0.schema = "" },
    Mistake("no prefix", "prefix") { $0.prefix = "" },
    Mistake("64 bytes", "tables[0].columns[1].name") {
      $0.tables[0].columns[1].name = String(repeating: "ü", count: 32)
    },
    Mistake("table twice", "tables[7].name") { $0.tables.append($0.tables[0]) },
    Mistake("SQL for a type", "tables[0].columns[1].type") { $0.tables[0].columns[1].type = "text; DROP" },
    Mistake("unknown parent", "tables[1].foreign_keys[0].parent") {
      $0.tables[1].foreignKeys[0].parent = "jam_srevices"
    },
    Mistake("cycle", "tables[0].foreign_keys[0].parent") {
      $0.tables[0].foreignKeys = [ForeignKey(columns: ["id"], parent: "jam_work_packages", parentColumns: ["id"])]
    },
    Mistake("child before parent", "tables[0].foreign_keys[0].parent") { $0.tables.swapAt(0, 1) },
    Mistake("unknown table in a reference", "references[2].table") { $0.references[2].table = "jam_work_pakages" },
    Mistake("scalar on an array", "references[0].scalar") {
      $0.references[0] = Reference(table: "jam_work_items", kind: .scalar(column: "preimage_hashes"))
    },
    Mistake("scan of a number", "references[0].scan") {
      $0.references[0] = Reference(table: "jam_work_items", kind: .scan(column: "max_fee"))
    },
    Mistake("reference twice", "references[6]") { $0.references.append($0.references[0]) },
    Mistake("blob key that is no key", "blobs.key") { $0.blobs.key = "media_type" },
    Mistake("one column for two things", "blobs.storage_class") { $0.blobs.storageClass = $0.blobs.mediaType },
    Mistake("size for the count", "blobs.refcount") { $0.blobs.refcount = $0.blobs.size },
    Mistake("blob size that may be NULL", "blobs.size") { $0.tables[6].columns[1].isNullable = true },
    Mistake("blob time that may be NULL", "blobs.created_at") { $0.tables[6].columns[4].isNullable = true },
    Mistake("blob place that may be NULL", "blobs.storage_class") { $0.tables[6].columns[6].isNullable = true },
    Mistake("count that may be NULL", "blobs.refcount") { $0.tables[6].columns[7].isNullable = true },
    Mistake("class name that is no word", "classes[0].name") { $0.classes[0].name = "My reports" },
    Mistake("class with a composite key", "classes[0].table") { $0.classes[0].table = "jam_attestations" },
    Mistake("part of another table", "classes[1].parts[0].table") {
      $0.classes[1].parts[0].table = "jam_service_versions"
    },
    Mistake("parents first", "classes[1]") { $0.classes.swapAt(0, 1) },
    Mistake("timestamp that is none", "classes[0].timestamp") { $0.classes[0].timestamp = "traces" },
    Mistake("schema of PostgreSQL's own", "schema") { $0.schema = "pg_jam" },
    Mistake("role of PostgreSQL's own", "prefix") { $0.prefix = "pg_" },
    Mistake("system column", "tables[0].columns[1].name") { $0.tables[0].columns[1].name = "xmin" },
    Mistake("unbalanced quote in a type", "tables[0].columns[1].type") { $0.tables[0].columns[1].type = "te\"xt" },
    Mistake("default that ends the statement", "tables[0].columns[1].default") {
      $0.tables[0].columns[1].defaultExpression = "''); DROP TABLE x; --"
    },
    Mistake("default without its end", "tables[0].columns[1].default") {
      $0.tables[0].columns[1].defaultExpression = "'"
    },
    Mistake("default that is empty", "tables[0].columns[1].default") {
      $0.tables[0].columns[1].defaultExpression = ""
    },
    Mistake("default of comments only", "tables[0].columns[1].default") {
      $0.tables[0].columns[1].defaultExpression = " /* none */ "
    },
    Mistake("column with a sequence", "tables[0].columns[4].type") { $0.tables[0].columns[4].type = "BigSerial" },
    Mistake("identity column", "tables[0].columns[4].type") {
      $0.tables[0].columns[4].type = "bigint GENERATED ALWAYS AS IDENTITY"
    },
    Mistake("type with a constraint", "tables[0].columns[1].type") { $0.tables[0].columns[1].type = "text not null" },
    Mistake("expression with a bracket too many", "references[0].expression") {
      $0.references[0] = Reference(table: "jam_work_items", kind: .expression(sql: "a) b (", columns: ["id"]))
    },
    Mistake("another spelling of the same letter", "references[0].scalar") {
      $0.tables[4].columns[0].name = "\u{e9}"
      $0.references[0] = Reference(table: $0.tables[4].name, kind: .scalar(column: "e\u{301}"))
    },
    Mistake("table with the name of a generated one", "tables[0].name") { $0.tables[0].name = "jam_reference_ledger" },
    Mistake("tables with the same generated names", "tables[7].name") {
      $0.tables.append($0.tables[6])
      $0.tables[7].name = String($0.tables[6].name.dropFirst(4))
    },
    Mistake("two indexes of one name", "tables[3].foreign_keys[1]") {
      $0.tables[3].columns += [Column("a_b", "uuid"), Column("a", "uuid"), Column("b", "uuid")]
      let parent = $0.tables[0].name
      $0.tables[3].foreignKeys = [
        ForeignKey(columns: ["a_b"], parent: parent, parentColumns: ["id"]),
        ForeignKey(columns: ["a", "b"], parent: parent, parentColumns: ["id", "id"]),
      ]
    },
    Mistake("class with the name of a parameter", "classes[0].name") { $0.classes[0].name = "given" },
    Mistake("blobs with the name of a column", "blobs.plural") { $0.blobs.plural = "rows" },
    Mistake("class name with an accent", "classes[0].name") { $0.classes[0].name = "a\u{331}" },
    Mistake("no class", "classes") { $0.classes = [] },
    Mistake("class that refers to itself", "tables[2].foreign_keys[1].parent") {
      $0.tables[2].foreignKeys.append(ForeignKey(columns: ["id"], parent: "jam_work_packages", parentColumns: ["id"]))
    },
    Mistake("part that refers to itself", "tables[3].foreign_keys[1].parent") {
      $0.tables[3].foreignKeys.append(ForeignKey(columns: ["id"], parent: "jam_work_items", parentColumns: ["id"]))
    },
    Mistake("blobs that go with another", "tables[6].foreign_keys[0].parent") {
      $0.tables[6].foreignKeys = [ForeignKey(columns: ["uploader"], parent: "jam_preimages", parentColumns: ["hash"])]
    },
    Mistake("rows that go with an uncounted blob", "tables[7].foreign_keys[0]") { addThumbnails(to: &$0, .cascade) },
    Mistake("rows that hold an uncounted blob", "tables[7].foreign_keys[0]") { addThumbnails(to: &$0, .restrict) },
    Mistake("rows that hold a blob by another column", "tables[7].foreign_keys[0]") {
      addThumbnails(to: &$0, .noAction, parentColumn: "uploader")
      $0.references.append(Reference(table: "jam_thumbnails", kind: .scalar(column: "source")))
    },
  ]

  private static func addThumbnails(
    to model: inout RetentionModel,
    _ action: DeleteAction,
    parentColumn: String = "hash"
  ) {
    model.tables.append(
      Table(
        name: "jam_thumbnails",
        columns: [Column("id", "bigint"), Column("source", "text", nullable: true)],
        primaryKey: ["id"],
        foreignKeys: [
          ForeignKey(columns: ["source"], parent: "jam_preimages", parentColumns: [parentColumn], onDelete: action)
        ]
      )
    )
  }

  @Test("The JAM model has no mistake")
  func jam() {
    #expect(RetentionModel.jam.validate() == [])
  }

  @Test("A foreign key to the blobs is allowed beside a reference, or where it is set to NULL")
  func foreignKeysToBlobs() {
    for action in DeleteAction.allCases {
      var model = RetentionModel.jam
      Self.addThumbnails(to: &model, action)
      #expect(model.validate().isEmpty == (action == .setNull), "\(action)")
      model.references.append(Reference(table: "jam_thumbnails", kind: .scalar(column: "source")))
      #expect(model.validate() == [], "\(action)")
    }
  }

  @Test("A table that never expires may refer to itself")
  func tree() {
    var model = RetentionModel.jam
    model.tables[0].columns.append(Column("parent_id", "uuid", nullable: true))
    model.tables[0].foreignKeys = [ForeignKey(columns: ["parent_id"], parent: "jam_services", parentColumns: ["id"])]
    #expect(model.validate() == [])
  }

  @Test("Each mistake is reported at its place", arguments: mistakes)
  func place(mistake: Mistake) {
    var model = RetentionModel.jam
    mistake.change(&model)
    let paths = model.validate().map(\.path)
    #expect(paths.contains(mistake.path), "\(paths)")
  }

  @Test("A word of a constraint in quotes is the name of a type", arguments: ["\"not\"", "my.\"null\"", "notes"])
  func quotedWords(type: String) {
    var model = RetentionModel.jam
    model.tables[0].columns[1].type = type
    #expect(model.validate() == [])
  }

  @Test("All mistakes are reported at once")
  func allAtOnce() {
    var model = RetentionModel.jam
    model.schema = ""
    model.references[2].table = "jam_work_pakages"
    model.classes[0].timestamp = "traces"
    #expect(model.validate().map(\.path) == ["schema", "references[2].table", "classes[0].timestamp"])
  }
}
