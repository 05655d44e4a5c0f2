import RetentionModel
import SafeSQL

/// A table whose rows a cleanup deletes, with the table that keeps them for a while.
struct ArchivedTable {
  /// What the rows are called in figures: the name of a class or a part, or that of the blobs.
  let name: String
  let table: Table
  let source: QualifiedName
  let archive: QualifiedName
  let isBlobs: Bool

  /// A name for a column of the archive that no column of the table has.
  private func free(_ name: String) -> Identifier {
    var name = name
    while table.columns.contains(where: { $0.name == name }) { name += "_" }
    return Identifier(name)
  }

  var run: Identifier { free("run_id") }
  var entry: Identifier { free("entry") }
  var archivedAt: Identifier { free("archived_at") }
  var bytes: Identifier { free("row_bytes") }
  var others: Identifier { free("other_columns") }
  var putAt: Identifier { free("put_at") }
  var generation: Identifier { free("generation") }

  var columns: [Identifier] { table.columns.map { Identifier($0.name) } }
  var primaryKey: [Identifier] { table.primaryKey.map { Identifier($0) } }

  /// Whether two rows have the same primary key.
  func sameKey(_ one: SQL, _ other: SQL) -> SQL {
    .joined(primaryKey.map { "\(one).\($0) = \(other).\($0)" }, separator: " AND ")
  }

  /// The names of the model's columns, as an array.
  var knownColumns: SQL {
    "ARRAY[\(SQL.joined(table.columns.map { "\(literal: $0.name)" }, separator: ", "))]"
  }
}
