/// A kind of rows that expires together: the rows of one table, with the parts that go along.
public struct DataClass: Equatable, Sendable {
  /// The name in generated objects, plural: `reports` makes `deleted_reports` and `reports_retention_days`.
  public var name: String
  /// The table whose rows expire.
  public var table: String
  /// The `timestamptz` column that is compared with the cutoff.
  public var timestamp: String
  /// The `text` column that `protected_statuses` of the policy looks at, or nil.
  public var status: String?
  /// Child tables whose rows are deleted with their parent row.
  public var parts: [Part]

  /// Creates a class.
  public init(name: String, table: String, timestamp: String = "created_at", status: String? = nil, parts: [Part] = [])
  {
    self.name = name
    self.table = table
    self.timestamp = timestamp
    self.status = status
    self.parts = parts
  }

  /// A child table that belongs to its parent: items to their package.
  public struct Part: Equatable, Sendable {
    /// The name in generated objects, plural: `items` makes `deleted_items`.
    public var name: String
    /// The child table; it has exactly one foreign key to the table of the class.
    public var table: String
    /// The part's own `timestamptz` column, or nil. A row younger than the cutoff keeps its parent.
    public var timestamp: String?

    /// Creates a part.
    public init(name: String, table: String, timestamp: String? = nil) {
      self.name = name
      self.table = table
      self.timestamp = timestamp
    }
  }
}
