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
      columns.map { column in
        column.isNullable
          ? "coalesce(pg_catalog.pg_column_size(\(alias).\(Identifier(column.name))), 0)"
          : "pg_catalog.pg_column_size(\(alias).\(Identifier(column.name)))"
      },
      separator: "\n  + "
    )
  }
}
