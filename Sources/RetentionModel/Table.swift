/// A table of the application: created where it is missing, adopted and never altered where it exists.
public struct Table: Equatable, Sendable {
  /// The table's name, unquoted.
  public var name: String
  /// All columns, in order.
  public var columns: [Column]
  /// The names of the primary key's columns, in order.
  public var primaryKey: [String]
  /// The foreign keys that the retention must know: cascades follow them, and each gets an index on its child side.
  public var foreignKeys: [ForeignKey]

  /// Creates a table.
  public init(name: String, columns: [Column], primaryKey: [String], foreignKeys: [ForeignKey] = []) {
    self.name = name
    self.columns = columns
    self.primaryKey = primaryKey
    self.foreignKeys = foreignKeys
  }
}

/// A column of an application table.
public struct Column: Equatable, Sendable {
  /// The column's name, unquoted.
  public var name: String
  /// The type as PostgreSQL spells it, for example `timestamptz` or `text[]`.
  public var type: String
  /// Whether the column may be NULL.
  public var isNullable: Bool
  /// The SQL text of the default, or nil.
  public var defaultExpression: String?

  /// Creates a column; NOT NULL unless told otherwise.
  public init(
    _ name: String,
    _ type: String,
    nullable isNullable: Bool = false,
    default defaultExpression: String? = nil
  ) {
    self.name = name
    self.type = type
    self.isNullable = isNullable
    self.defaultExpression = defaultExpression
  }
}

extension Column {
  private static let typeAliases = [
    "int8": "bigint", "int4": "integer", "int": "integer", "timestamp with time zone": "timestamptz",
    "character varying": "varchar",
  ]

  /// The type in the one spelling by which types are compared. Generated files keep the model's own: a released one must
  /// not change.
  package var comparableType: String {
    let words = type.lowercased().split(separator: " ").joined(separator: " ")
    return Self.typeAliases[words] ?? words
  }
}

/// A foreign key of an application table.
public struct ForeignKey: Equatable, Sendable {
  /// The referring columns of this table, in order.
  public var columns: [String]
  /// The table that is referred to.
  public var parent: String
  /// The columns that are referred to, in order.
  public var parentColumns: [String]
  /// What happens to the row when its parent is deleted.
  public var onDelete: DeleteAction

  /// Creates a foreign key.
  public init(columns: [String], parent: String, parentColumns: [String], onDelete: DeleteAction = .cascade) {
    self.columns = columns
    self.parent = parent
    self.parentColumns = parentColumns
    self.onDelete = onDelete
  }
}

/// `ON DELETE` of a foreign key.
public enum DeleteAction: String, CaseIterable, Equatable, Sendable {
  case cascade
  case restrict
  case noAction = "no action"
  case setNull = "set null"
}
