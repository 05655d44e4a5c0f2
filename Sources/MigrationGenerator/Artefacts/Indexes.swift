import RetentionModel
import SafeSQL

extension RetentionSchema {
  struct Index {
    var table: String
    var name: Identifier
    var columns: SQL
    var condition: SQL?
    var purpose: String
    /// Whether the application may have had it before, under the name that PostgreSQL would choose, too.
    var isOfForeignKey = false
  }

  /// The indexes that a cleanup needs, and the child side of every foreign key.
  var indexList: [Index] {
    var result: [Index] = []
    for dataClass in model.classes {
      let key = table(dataClass.table).primaryKey[0]
      result.append(
        Index(
          table: dataClass.table,
          name: names.identifier(of: dataClass.table, "expiry_idx"),
          columns: "\(Identifier(dataClass.timestamp)), \(Identifier(key))",
          purpose: "Cleanup: expired \(dataClass.name), oldest first, batch after batch."
        )
      )
    }
    result.append(
      Index(
        table: blobs.table,
        name: names.identifier(of: blobs.table, "age_idx"),
        columns: "\(Identifier(blobs.createdAt)), \(refcount)",
        purpose: "Reports: \(blobs.plural) by age and references."
      )
    )
    result.append(
      Index(
        table: blobs.table,
        name: names.identifier(of: blobs.table, "unreferenced_idx"),
        columns: "\(Identifier(blobs.createdAt)), \(key)",
        condition: "\(refcount) = 0",
        purpose: "Cleanup: unreferenced \(blobs.plural), oldest first, batch after batch."
      )
    )
    for table in model.tables {
      for foreignKey in table.foreignKeys
      where Array(table.primaryKey.prefix(foreignKey.columns.count)) != foreignKey.columns {
        result.append(
          Index(
            table: table.name,
            name: names.identifier(of: table.name, "\(foreignKey.columns.joined(separator: "_"))_idx"),
            columns: .joined(foreignKey.columns.map { "\(Identifier($0))" }, separator: ", "),
            purpose: "Foreign key to \(foreignKey.parent): without it every deletion there reads this whole table.",
            isOfForeignKey: true
          )
        )
      }
    }
    return result
  }

  /// `030_indexes.sql`.
  func indexes() -> Artefact {
    Artefact(
      path: "030_indexes.sql",
      kind: .versioned,
      isTransactional: false,
      purpose: [
        "Indexes for the cleanup and for the child side of every foreign key. Built CONCURRENTLY: readers and",
        "writers go on. An INVALID index that a killed build has left is dropped and built again.",
      ],
      locks: [
        "SHARE UPDATE EXCLUSIVE on each table while its index is built; an INVALID leftover: ACCESS EXCLUSIVE, an instant"
      ],
      body: .joined(indexList.map(createIndex), separator: "\n\n")
    )
  }

  private func createIndex(_ index: Index) -> SQL {
    let name = QualifiedName(names.schema, index.name)
    let condition: SQL = index.condition.map { " WHERE \($0)" } ?? ""
    let dropInvalid: SQL = """
      BEGIN
        IF EXISTS (
          SELECT FROM pg_catalog.pg_index AS i
          WHERE i.indexrelid = pg_catalog.to_regclass(\(literal(name))) AND NOT i.indisvalid
        ) THEN
          DROP INDEX \(name);
        END IF;
      END
      """
    return """
      DO \(dropInvalid.dollarQuoted());
      CREATE INDEX CONCURRENTLY IF NOT EXISTS \(index.name) ON \(names.table(index.table)) (\(index.columns))\(condition);
      COMMENT ON INDEX \(name) IS \(literal: index.purpose);
      """
  }
}
