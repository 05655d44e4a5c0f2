import RetentionModel
import SafeSQL

extension RetentionSchema {
  /// `070_cleanup.sql`: the cleanup procedure and what it is made of.
  func cleanup() -> Artefact {
    Artefact(
      path: "070_cleanup.sql",
      kind: .repeatable,
      purpose: [
        "The cleanup: CALL \(names.identifier("cleanup").quoted)(cutoff, dry_run). The procedure only loops and commits; every batch is a",
        "function that catches its own errors, because PostgreSQL allows no COMMIT in a block that catches errors.",
      ],
      locks: ["none on tables"],
      body: .joined(
        [previewFunction, startFunction, holdFunction, finishFunction] + model.classes.map(batchFunction)
          + [foldStepFunction, blobBatchFunction, purgeBatchFunction, nextTransaction, procedure],
        separator: "\n\n"
      )
    )
  }

  func keyColumn(_ tableName: String) -> Identifier { Identifier(table(tableName).primaryKey[0]) }

  func window(_ name: String) -> Identifier { Identifier("\(name)_cutoff") }

  func keyColumnType(_ tableName: String) -> SQL {
    "\(raw: columnType(of: table(tableName).primaryKey[0], in: tableName))"
  }

  /// Children of a table, each with the foreign key.
  private func children(of name: String) -> [(table: Table, key: ForeignKey)] {
    model.tables.flatMap { table in table.foreignKeys.filter { $0.parent == name }.map { (table, $0) } }
  }

  func join(_ key: ForeignKey, child: SQL, parent: SQL) -> SQL {
    .joined(
      zip(key.columns, key.parentColumns).map { "\(child).\(Identifier($0)) = \(parent).\(Identifier($1))" },
      separator: " AND "
    )
  }

  func partKey(_ part: DataClass.Part, of dataClass: DataClass) -> ForeignKey {
    guard let key = table(part.table).foreignKeys.first(where: { $0.parent == dataClass.table }) else {
      preconditionFailure("part \(part.name) has no foreign key to \(dataClass.table): the model was not validated")
    }
    return key
  }

  /// The conditions under which the row `r` of a class may go, besides its age.
  ///
  /// With `dying`, rows of earlier classes and of their parts do not block when the query of that name lists them; without,
  /// they are gone.
  func conditions(_ dataClass: DataClass, cutoff: SQL, protected: SQL, dying: Bool) -> [SQL] {
    var result: [SQL] = []
    if let status = dataClass.status {
      result.append("(r.\(Identifier(status)) = ANY (\(protected))) IS NOT TRUE")
    }
    let earlier =
      dying
      ? model.classes.prefix { $0.table != dataClass.table }.flatMap { [$0.table] + $0.parts.map(\.table) } : []
    func stays(_ child: Table, _ alias: SQL) -> SQL {
      guard earlier.contains(child.name) else { return "" }
      let sameRow = child.primaryKey.map { "d.\(Identifier($0)) = \(alias).\(Identifier($0))" as SQL }
      return
        " AND NOT EXISTS (SELECT FROM \(dyingName(child.name)) AS d WHERE \(SQL.joined(sameRow, separator: " AND ")))"
    }
    // Where no status is protected, as by default, no parent is looked up.
    result += protectedAncestors(of: dataClass.table, alias: "r", protected: protected, depth: 1)
      .map { "(cardinality(\(protected)) = 0 OR \($0))" }
    for part in dataClass.parts {
      let key = partKey(part, of: dataClass)
      if let timestamp = part.timestamp {
        result.append(
          "NOT EXISTS (SELECT FROM \(names.table(part.table)) AS x WHERE \(join(key, child: "x", parent: "r")) AND x.\(Identifier(timestamp)) >= \(cutoff))"
        )
      }
      for (child, childKey) in children(of: part.table)
      where !dataClass.parts.contains(where: { $0.table == child.name }) {
        result.append(
          "NOT EXISTS (SELECT FROM \(names.table(part.table)) AS x JOIN \(names.table(child.name)) AS y ON \(join(childKey, child: "y", parent: "x")) WHERE \(join(key, child: "x", parent: "r"))\(stays(child, "y")))"
        )
      }
    }
    for (child, key) in children(of: dataClass.table) where !dataClass.parts.contains(where: { $0.table == child.name })
    {
      result.append(
        "NOT EXISTS (SELECT FROM \(names.table(child.name)) AS c WHERE \(join(key, child: "c", parent: "r"))\(stays(child, "c")))"
      )
    }
    return result
  }

  /// A batch begins after the place where the last one ended, and nothing comes before `-infinity`: a row with that time
  /// stays, as one without a time does.
  func hasAge(_ timestamp: SQL) -> SQL { "\(timestamp) > '-infinity'" }

  func protectedAncestors(of name: String, alias: SQL, protected: SQL, depth: Int) -> [SQL] {
    table(name).foreignKeys.flatMap { key -> [SQL] in
      guard let parent = model.classes.first(where: { $0.table == key.parent }) else { return [] }
      let parentAlias: SQL = "p\(depth)"
      var alternatives: [SQL] = []
      if let status = parent.status { alternatives.append("\(parentAlias).\(Identifier(status)) = ANY (\(protected))") }
      alternatives += protectedAncestors(of: parent.table, alias: parentAlias, protected: protected, depth: depth + 1)
        .map { "NOT (\($0))" }
      guard !alternatives.isEmpty else { return [] }
      return [
        "NOT EXISTS (SELECT FROM \(names.table(key.parent)) AS \(parentAlias) WHERE \(join(key, child: alias, parent: parentAlias)) AND (\(SQL.joined(alternatives, separator: " OR "))))"
      ]
    }
  }

  /// The ways from a table to those whose status may protect its rows, each foreign key by foreign key. A way comes after
  /// those that it goes on from.
  func waysToProtectors(of name: String) -> [[ForeignKey]] {
    table(name).foreignKeys.flatMap { key -> [[ForeignKey]] in
      guard let parent = model.classes.first(where: { $0.table == key.parent }) else { return [] }
      let further = waysToProtectors(of: parent.table)
      guard parent.status != nil || !further.isEmpty else { return [] }
      return [[key]] + further.map { [key] + $0 }
    }
  }

  func dyingName(_ tableName: String) -> Identifier {
    let owner = model.classes.first { $0.table == tableName || $0.parts.contains { $0.table == tableName } }
    let name = owner.flatMap { $0.table == tableName ? $0.name : $0.parts.first { $0.table == tableName }?.name }
    return Identifier("dying_\(name ?? tableName)")
  }
}
