import SafeSQL

extension RetentionModel {
  /// Finds all mistakes at once; none: the generator can take the model.
  public func validate() -> [ModelError] {
    var validation = Validation(model: self)
    validation.run()
    return validation.errors
  }

  /// What the retention itself puts among the tables, views, sequences and indexes of the schema, besides the indexes of the
  /// application's tables.
  package var generatedRelations: Set<String> {
    let names =
      [
        "reference_ledger", "storage_ledger", "unresolved_references", "\(blobs.singular)_puts", "refcount_anomalies",
        "cleanup_runs", "cleanup_runs_running_idx", "cleanup_runs_success_idx", "retention_policy", "schema_migrations",
        "refcount_adjustments", "references", "\(blobs.singular)_refcounts", "counting_triggers", "storage",
        "storage_history", "metrics", "health", "blob_uploads", "blob_uploads_hash_idx", "blob_deletions",
        "blob_objects", "blob_locations", "blob_needed_objects", "archive", "archive_contents", "archive_entries",
        "archived_objects_idx", "totals",
      ] + (classes.flatMap { [$0.name] + $0.parts.map(\.name) } + [blobs.plural]).map { "archived_\($0)" }
    return Set(names.map { prefix + $0 })
  }
}

private struct Validation {
  let model: RetentionModel
  var errors: [ModelError] = []

  mutating func run() {
    checkName(model.schema, "schema")
    if model.schema.utf8.starts(with: "pg_".utf8) {
      add("schema", "PostgreSQL keeps schema names that begin with pg_ for itself")
    }
    if model.prefix.utf8.starts(with: "pg_".utf8) {
      add("prefix", "PostgreSQL keeps role names that begin with pg_ for itself")
    }
    if model.prefix.isEmpty || model.prefix.utf8.count > 20 || model.prefix.contains("\u{0}") {
      add("prefix", "must have 1 to 20 bytes and no NUL character")
    }
    for (index, table) in model.tables.enumerated() { check(table, at: "tables[\(index)]") }
    reportRepeats(model.tables.map { kept($0.name) }, "tables", "name")
    checkForeignKeyOrder()
    checkGeneratedNames()
    checkBlobs()
    for (index, reference) in model.references.enumerated() { check(reference, at: "references[\(index)]") }
    if model.references.isEmpty { add("references", "a model needs at least one reference") }
    for (index, dataClass) in model.classes.enumerated() { check(dataClass, at: "classes[\(index)]") }
    checkClasses()
  }

  private mutating func add(_ path: String, _ message: String) {
    errors.append(ModelError(path, message))
  }

  // MARK: Names

  private mutating func checkName(_ name: String, _ path: String) {
    if name.isEmpty {
      add(path, "must not be empty")
    } else if name.contains("\u{0}") {
      add(path, "must not hold a NUL character")
    } else if name.utf8.count > 63 {
      add(path, "\"\(name)\" has \(name.utf8.count) bytes; PostgreSQL keeps 63, and two such names could become one")
    }
  }

  /// Every table has these columns already (PostgreSQL manual, section 5.5, System Columns).
  private static let systemColumns: Set<String> = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"]

  /// What PostgreSQL would keep of a name.
  private func kept(_ name: String) -> String { String(decoding: name.utf8.prefix(63), as: UTF8.self) }

  private mutating func reportRepeats(_ names: [String], _ path: String, _ field: String) {
    for (index, name) in names.enumerated() where names[..<index].contains(name) {
      add(
        "\(path)[\(index)].\(field)",
        "\"\(name)\" is there already (names are compared by the 63 bytes that PostgreSQL keeps)"
      )
    }
  }

  private func quotedList(_ names: [String]) -> String { names.map { "\"\($0)\"" }.joined(separator: ", ") }

  private mutating func find(_ name: String, at path: String) -> Table? {
    if let table = model.tables.first(where: { $0.name.hasSameScalars(as: name) }) { return table }
    let names = model.tables.map(\.name)
    let suggestion = Suggestion.text(for: name, among: names)
    add(path, "there is no table \"\(name)\"\(suggestion); the tables are \(quotedList(names))")
    return nil
  }

  private mutating func find(_ name: String, in table: Table, at path: String) -> Column? {
    if let column = table.columns.first(where: { $0.name.hasSameScalars(as: name) }) { return column }
    let names = table.columns.map(\.name)
    let suggestion = Suggestion.text(for: name, among: names)
    add(path, "table \"\(table.name)\" has no column \"\(name)\"\(suggestion); it has \(quotedList(names))")
    return nil
  }

  private mutating func require(_ types: [String], _ name: String, in table: Table, at path: String) {
    guard let column = find(name, in: table, at: path) else { return }
    if !types.contains(column.comparableType) {
      add(path, "column \"\(name)\" is of type \(column.type); it must be \(types.joined(separator: " or "))")
    }
  }

  // MARK: Tables

  private mutating func check(_ table: Table, at path: String) {
    checkName(table.name, "\(path).name")
    for (index, column) in table.columns.enumerated() {
      checkName(column.name, "\(path).columns[\(index)].name")
      if Self.systemColumns.contains(column.name) {
        add(
          "\(path).columns[\(index)].name",
          "\"\(column.name)\" is a column that every table of PostgreSQL has already"
        )
      }
      if let text = column.defaultExpression {
        if let mistake = SQLLexer.mistake(inExpression: text) {
          add("\(path).columns[\(index)].default", "\(mistake); it must be one SQL expression")
        } else if SQLLexer.isEmpty(text) {
          add("\(path).columns[\(index)].default", "is empty; the empty text is the SQL expression '', in YAML \"''\"")
        }
      }
      let isType =
        !column.type.isEmpty
        && column.type.unicodeScalars.allSatisfy {
          $0.properties.isAlphabetic || ("0"..."9").contains($0) || " _.(),[]\"".unicodeScalars.contains($0)
        } && SQLLexer.mistake(inExpression: column.type) == nil
      if !isType {
        add(
          "\(path).columns[\(index)].type",
          "\"\(column.type)\" is no type; letters, digits and _ . ( ) , [ ] \" are allowed, the last ones in pairs"
        )
      } else if let mistake = more(thanType: column) {
        add("\(path).columns[\(index)].type", "\"\(column.type)\" \(mistake)")
      }
    }
    reportRepeats(table.columns.map { kept($0.name) }, "\(path).columns", "name")
    if table.primaryKey.isEmpty { add("\(path).primary_key", "must name at least one column") }
    for name in table.primaryKey { _ = find(name, in: table, at: "\(path).primary_key") }
    for (index, key) in table.foreignKeys.enumerated() {
      let place = "\(path).foreign_keys[\(index)]"
      for name in key.columns { _ = find(name, in: table, at: "\(place).columns") }
      if key.columns.isEmpty || key.columns.count != key.parentColumns.count {
        add(place, "must name as many columns as parent columns, and at least one")
      }
      guard let parent = find(key.parent, at: "\(place).parent") else { continue }
      for name in key.parentColumns { _ = find(name, in: parent, at: "\(place).parent_columns") }
      if parent.name == model.blobs.table { checkIsReference(key, of: table, at: place) }
    }
  }

  /// What PostgreSQL takes for a type in `CREATE TABLE` only, with the type that it stands for.
  private static let serialTypes = [
    "smallserial": "smallint", "serial2": "smallint", "serial": "integer", "serial4": "integer", "bigserial": "bigint",
    "serial8": "bigint",
  ]

  /// The words with which something other than a type begins in the definition of a column.
  private static let constraintWords: Set<String> = [
    "check", "collate", "constraint", "default", "generated", "not", "null", "primary", "references", "unique",
  ]

  /// What else a type says: `CREATE TABLE` would take it, and whatever compares types later would not.
  private func more(thanType column: Column) -> String? {
    if let type = Self.serialTypes[column.comparableType] {
      return
        "is no type but a column with a sequence; say \(type), and create the table yourself before: what exists is adopted"
    }
    let bytes = Array(column.type.utf8)
    let words = SQLLexer.tokens(of: bytes).filter { $0.kind == .other }.map {
      String(decoding: bytes[$0.range], as: UTF8.self).lowercased()
    }
    guard let word = words.first(where: Self.constraintWords.contains) else { return nil }
    return
      "says more than a type, from \"\(word)\" on; nullable, default and the keys have places of their own, and a table that needs more is created before: what exists is adopted"
  }

  /// Nothing but a count keeps a blob. A foreign key that is set to NULL keeps none either, and does no harm.
  private mutating func checkIsReference(_ key: ForeignKey, of table: Table, at path: String) {
    let pairs = zip(key.columns, key.parentColumns)
    guard key.onDelete != .setNull, table.name != model.blobs.table,
      !pairs.contains(where: { column, parent in
        parent == model.blobs.key
          && model.references.contains(Reference(table: table.name, kind: .scalar(column: column)))
      })
    else { return }
    let consequence =
      key.onDelete == .cascade
      ? "its rows would be deleted with their blob, however young they are"
      : "the cleanup would fail on a blob that one of its rows names"
    let remedy =
      pairs.first { $1 == model.blobs.key }.map { "make it a reference: {table: \(table.name), scalar: \($0.0)}" }
      ?? "let it refer to \"\(model.blobs.key)\" and make it a reference"
    add(
      path,
      "\"\(table.name)\" would hold blobs without being counted: \(consequence); \(remedy); or on_delete: set null"
    )
  }

  private mutating func checkForeignKeyOrder() {
    for (index, table) in model.tables.enumerated() {
      for (position, key) in table.foreignKeys.enumerated() {
        let path = "tables[\(index)].foreign_keys[\(position)].parent"
        // Rows of which no cleanup deletes any need no order.
        if key.parent == table.name, !expires(table) { continue }
        if reaches(table.name, from: key.parent, visited: []) {
          add(
            path,
            "\"\(table.name)\" and \"\(key.parent)\" are in a cycle of foreign keys; rows of a cycle cannot expire in order"
          )
        } else if let parent = model.tables.firstIndex(where: { $0.name == key.parent }), parent > index {
          add(path, "table \"\(key.parent)\" must stand before \"\(table.name)\", which refers to it")
        }
      }
    }
  }

  private func expires(_ table: Table) -> Bool {
    table.name == model.blobs.table
      || model.classes.contains { dataClass in
        dataClass.table == table.name || dataClass.parts.contains { $0.table == table.name }
      }
  }

  private func reaches(_ goal: String, from name: String, visited: Set<String>) -> Bool {
    if name == goal { return true }
    guard !visited.contains(name), let table = model.tables.first(where: { $0.name.hasSameScalars(as: name) }) else {
      return false
    }
    return table.foreignKeys.contains { reaches(goal, from: $0.parent, visited: visited.union([name])) }
  }

  // MARK: Generated names

  /// A second object of the same name would be taken for the first, since the files may be applied again.
  private mutating func checkGeneratedNames() {
    let relations = model.generatedRelations
    var bases: [String: String] = [:]
    var indexes: [String: [String]] = [:]
    let tables = Set(model.tables.map(\.name))
    for (position, table) in model.tables.enumerated() {
      let path = "tables[\(position)]"
      if relations.contains(table.name) {
        add("\(path).name", "\"\(table.name)\" is the name of something that is generated; choose another prefix")
      }
      let base = table.name.hasPrefix(model.prefix) ? table.name : model.prefix + table.name
      if let other = bases[base], other != table.name {
        add("\(path).name", "\"\(table.name)\" and \"\(other)\" make the same generated names; choose another prefix")
      }
      bases[base] = table.name
      var places = table.foreignKeys.enumerated().map { ("\(path).foreign_keys[\($0)]", $1.columns) }
      if let index = model.classes.firstIndex(where: { $0.table == table.name }) {
        places.append(("classes[\(index)]", ["expiry"]))
      }
      if table.name == model.blobs.table { places += [("blobs", ["age"]), ("blobs", ["unreferenced"])] }
      for (place, columns) in places {
        let name = "\(base)_\(columns.joined(separator: "_"))_idx"
        if tables.contains(name) || indexes[name].map({ $0 != [base] + columns }) == true {
          add(place, "its index would be named \"\(name)\", as something else is already")
        }
        indexes[name] = [base] + columns
      }
    }
  }

  // MARK: Blobs and references

  private mutating func checkBlobs() {
    let blobs = model.blobs
    checkWord(blobs.plural, "blobs.plural", reserved: ["rows", "purge"])
    checkWord(blobs.singular, "blobs.singular")
    guard let table = find(blobs.table, at: "blobs.table") else { return }
    require(["text", "bytea"], blobs.key, in: table, at: "blobs.key")
    if table.primaryKey != [blobs.key] {
      add("blobs.key", "\"\(blobs.key)\" must be the whole primary key of \"\(table.name)\"")
    }
    require(["bigint"], blobs.size, in: table, at: "blobs.size")
    require(["text"], blobs.mediaType, in: table, at: "blobs.media_type")
    require(["bytea"], blobs.data, in: table, at: "blobs.data")
    require(["timestamptz"], blobs.createdAt, in: table, at: "blobs.created_at")
    require(["text"], blobs.storageClass, in: table, at: "blobs.storage_class")
    require(["bigint"], blobs.refcount, in: table, at: "blobs.refcount")
    if table.columns.first(where: { $0.name == blobs.data })?.isNullable == false {
      add("blobs.data", "\"\(blobs.data)\" must be nullable: a blob in an object store has none")
    }
    for (index, role) in blobs.roles.enumerated() {
      if let other = blobs.roles[..<index].first(where: { $0.column.hasSameScalars(as: role.column) }) {
        add("blobs.\(role.name)", "\"\(role.column)\" is blobs.\(other.name) already; each needs a column of its own")
      }
    }
    for (role, name) in blobs.requiredRoles
    where table.columns.first(where: { $0.name == name })?.isNullable == true {
      add(
        "blobs.\(role)",
        "\"\(name)\" must not be nullable: every blob needs its \(role); give one to the rows without, then SET NOT NULL"
      )
    }
  }

  private var keyType: String? {
    model.tables.first { $0.name == model.blobs.table }?.columns.first { $0.name == model.blobs.key }?.comparableType
  }

  private mutating func check(_ reference: Reference, at path: String) {
    guard let table = find(reference.table, at: "\(path).table") else { return }
    if table.name == model.blobs.table { add("\(path).table", "the blob table cannot refer to itself") }
    let key = keyType ?? "text"
    switch reference.kind {
    case .scalar(let column): require([key], column, in: table, at: "\(path).scalar")
    case .array(let column): require(["\(key)[]"], column, in: table, at: "\(path).array")
    case .scan(let column): require(["bytea", "text"], column, in: table, at: "\(path).scan")
    case .expression(let sql, let columns):
      if SQLLexer.isEmpty(sql) { add("\(path).expression", "must not be empty") }
      if let mistake = SQLLexer.mistake(inExpression: sql) {
        add("\(path).expression", "\(mistake); it must be one SQL expression")
      }
      if columns.isEmpty { add("\(path).columns", "must name the columns that the expression depends on") }
      for column in columns { _ = find(column, in: table, at: "\(path).columns") }
    }
    let index = model.references.firstIndex(of: reference)
    if let index, path != "references[\(index)]" {
      add(path, "says the same as references[\(index)]: every reference would count twice")
    }
  }

  // MARK: Classes

  /// - Parameter reserved: words that would make a name twice in one generated object.
  private mutating func checkWord(_ word: String, _ path: String, reserved: [String] = []) {
    if reserved.contains(word) { add(path, "\"\(word)\" would make a name that the retention uses itself") }
    let scalars = word.unicodeScalars
    let isWord =
      scalars.count <= 20 && scalars.first.map { ("a"..."z").contains($0) } == true
      && scalars.allSatisfy { ("a"..."z").contains($0) || ("0"..."9").contains($0) || $0 == "_" }
    if !isWord { add(path, "\"\(word)\" must be 1 to 20 lower-case letters, digits and _, beginning with a letter") }
  }

  private mutating func check(_ dataClass: DataClass, at path: String) {
    checkWord(dataClass.name, "\(path).name", reserved: ["given", "purge"])
    guard let table = find(dataClass.table, at: "\(path).table") else { return }
    if table.primaryKey.count > 1 {
      add(
        "\(path).table",
        "\"\(table.name)\" has a primary key of \(table.primaryKey.count) columns; a class's table needs one of one column"
      )
    }
    require(["timestamptz"], dataClass.timestamp, in: table, at: "\(path).timestamp")
    if let status = dataClass.status { require(["text"], status, in: table, at: "\(path).status") }
    for (index, part) in dataClass.parts.enumerated() {
      let place = "\(path).parts[\(index)]"
      checkWord(part.name, "\(place).name")
      guard let child = find(part.table, at: "\(place).table") else { continue }
      let keys = child.foreignKeys.filter { $0.parent == table.name }
      if keys.count != 1 || keys.contains(where: { $0.columns.count != 1 || $0.parentColumns != table.primaryKey }) {
        add(
          "\(place).table",
          "\"\(child.name)\" needs exactly one foreign key to \"\(table.name)\", of one column to its primary key"
        )
      }
      if let timestamp = part.timestamp { require(["timestamptz"], timestamp, in: child, at: "\(place).timestamp") }
    }
  }

  private mutating func checkClasses() {
    if model.classes.isEmpty { add("classes", "a model needs at least one class") }
    let words = model.classes.flatMap { [$0.name] + $0.parts.map(\.name) } + [model.blobs.plural]
    for word in Set(words).sorted() where words.count(where: { $0 == word }) > 1 {
      add("classes", "the name \"\(word)\" is used more than once for classes, parts or blobs")
    }
    let tables = model.classes.flatMap { [$0.table] + $0.parts.map(\.table) } + [model.blobs.table]
    for table in Set(tables).sorted() where tables.count(where: { $0 == table }) > 1 {
      add("classes", "table \"\(table)\" belongs to more than one class, part or the blobs")
    }
    for (index, dataClass) in model.classes.enumerated() {
      for (earlier, parent) in model.classes[..<index].enumerated() {
        let table = model.tables.first { $0.name == dataClass.table }
        if table?.foreignKeys.contains(where: { $0.parent == parent.table }) == true {
          add(
            "classes[\(index)]",
            "\"\(dataClass.name)\" must stand before classes[\(earlier)] \"\(parent.name)\", whose rows it refers to"
          )
        }
      }
    }
  }
}
