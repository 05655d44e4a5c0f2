import RetentionModel
import SafeSQL

/// A small model with every kind of reference, in which all names are hostile.
struct HostileModel {
  /// Schema, prefix, three tables and their columns.
  static let names = 22

  private(set) var model: RetentionModel
  /// The places whose names cannot be used.
  private(set) var refusedPaths: [String] = []
  private(set) var nameCount = 0
  private var random: SeededGenerator
  private var taken: Set<String> = []

  /// - Parameter refusals: puts names that must be refused in some places.
  init(seed: UInt64, refusals: Bool) {
    random = SeededGenerator(seed: seed)
    model = RetentionModel(
      tables: [],
      blobs: BlobTable(table: "", plural: "files", singular: "file"),
      references: [],
      classes: []
    )
    model.refcounting = seed.isMultiple(of: 2) ? .immediate : .deferred
    let key = Bool.random(using: &random) ? "text" : "bytea"
    if refusals, Int.random(in: 0..<25, using: &random) == 0 {
      model.prefix = ["", "pg_x", "a\u{0}", String(repeating: "p", count: 21)].randomElement(using: &random) ?? ""
      refusedPaths.append("prefix")
      nameCount += 1
    } else {
      model.prefix = name(maximumBytes: 20)
    }
    model.schema = name(at: refusals ? "schema" : nil)

    func column(_ type: String, at path: String, nullable: Bool = false, default text: String? = nil) -> Column {
      Column(name(at: refusals ? path : nil), type, nullable: nullable, default: text)
    }
    func columns(_ table: Int, _ list: [(type: String, nullable: Bool, text: String?)]) -> [Column] {
      list.enumerated().map {
        column($1.type, at: "tables[\(table)].columns[\($0)].name", nullable: $1.nullable, default: $1.text)
      }
    }
    let blobs = Table(
      name: tableName(0, refusals: refusals),
      columns: columns(
        0,
        [
          (key, false, nil), ("bigint", false, nil), ("text", false, "''"), ("bytea", true, nil),
          ("timestamptz", false, "now()"), ("text", false, "''"), ("bigint", false, "0"),
        ]
      ),
      primaryKey: []
    )
    let letters = Table(
      name: tableName(1, refusals: refusals),
      columns: columns(
        1,
        [
          ("integer", false, nil), ("text", false, "''"), ("\(key)[]", false, "'{}'"), ("text", true, nil),
          (key, true, nil), ("timestamptz", false, "now()"),
        ]
      ),
      primaryKey: []
    )
    let pages = Table(
      name: tableName(2, refusals: refusals),
      columns: columns(
        2,
        [("integer", false, nil), ("integer", false, nil), (key, true, nil), ("timestamptz", true, nil)]
      ),
      primaryKey: []
    )
    model.tables = [blobs, letters, pages]
    linkNames()
  }

  /// The same model with every refused name replaced by one that can be used.
  mutating func repair() {
    for path in refusedPaths {
      let numbers = path.split { !$0.isNumber }.compactMap { Int($0) }
      switch numbers.count {
      case 0 where path == "prefix": model.prefix = name(maximumBytes: 20)
      case 0: model.schema = name(at: nil)
      case 1: model.tables[numbers[0]].name = name(at: nil)
      default: model.tables[numbers[0]].columns[numbers[1]].name = name(at: nil)
      }
    }
    refusedPaths = []
    linkNames()
  }

  /// Whatever names a table or a column names what it is called now.
  private mutating func linkNames() {
    let (blobs, letters, pages) = (model.tables[0], model.tables[1], model.tables[2])
    func blob(_ index: Int) -> String { blobs.columns[index].name }
    func letter(_ index: Int) -> String { letters.columns[index].name }
    func page(_ index: Int) -> String { pages.columns[index].name }
    model.tables[0].primaryKey = [blob(0)]
    model.tables[1].primaryKey = [letter(0)]
    model.tables[2].primaryKey = [page(1), page(0)]
    model.tables[2].foreignKeys = [ForeignKey(columns: [page(1)], parent: letters.name, parentColumns: [letter(0)])]
    if model.refcounting == .deferred { model.tables[2].primaryKey.reverse() }
    model.blobs = BlobTable(
      table: blobs.name,
      plural: "files",
      singular: "file",
      key: blob(0),
      size: blob(1),
      mediaType: blob(2),
      data: blob(3),
      createdAt: blob(4),
      storageClass: blob(5),
      refcount: blob(6)
    )
    model.references = [
      Reference(table: letters.name, kind: .array(column: letter(2))),
      Reference(table: letters.name, kind: .scan(column: letter(3))),
      Reference(
        table: letters.name,
        kind: .expression(sql: "coalesce(\(Identifier(letter(4)).quoted), NULL)", columns: [letter(4)])
      ),
      Reference(table: pages.name, kind: .scalar(column: page(2))),
    ]
    model.classes = [
      DataClass(
        name: "letters",
        table: letters.name,
        timestamp: letter(5),
        status: letter(1),
        parts: [DataClass.Part(name: "pages", table: pages.name, timestamp: page(3))]
      )
    ]
  }

  private mutating func name(maximumBytes: Int = 63, at path: String? = nil) -> String {
    nameCount += 1
    if let path, Int.random(in: 0..<25, using: &random) == 0 {
      let isColumn = path.contains("columns")
      let names = isColumn ? HostileName.refused : Array(HostileName.refused.prefix(5))
      let refused = path == "schema" ? names + ["pg_\(HostileName.random(maximumBytes: 60, using: &random))"] : names
      refusedPaths.append(path)
      return refused.randomElement(using: &random) ?? ""
    }
    while true {
      let name = HostileName.random(maximumBytes: maximumBytes, using: &random)
      let isReserved = name.utf8.starts(with: "pg_".utf8) || HostileName.refused.contains(name)
      if !isReserved, taken.insert(name).inserted { return name }
    }
  }

  private mutating func tableName(_ index: Int, refusals: Bool) -> String {
    let path = "tables[\(index)].name"
    if refusals, Int.random(in: 0..<15, using: &random) == 0 {
      let generated = [
        "reference_ledger", "cleanup_runs", "file_refcounts", "file_puts", "metrics", "refcount_adjustments",
      ]
      let name = model.prefix + (generated.randomElement(using: &random) ?? "")
      if taken.insert(name).inserted {
        nameCount += 1
        refusedPaths.append(path)
        return name
      }
    }
    return name(at: refusals ? path : nil)
  }
}
