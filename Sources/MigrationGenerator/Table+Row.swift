import RetentionModel
import SafeSQL

extension Table {
  /// The columns of a row, each with the row's alias before it.
  func columns(of alias: SQL) -> SQL {
    .joined(columns.map { "\(alias).\(Identifier($0.name))" }, separator: ", ")
  }

  /// What the columns of a row take on disk, a line for each.
  func storedBytes(of alias: SQL) -> SQL {
    .joined(
      // An adopted column may be NULL where the model says that it is not.
      columns.map { "coalesce(pg_catalog.pg_column_size(\(alias).\(Identifier($0.name))), 0)" },
      separator: "\n  + "
    )
  }
}
