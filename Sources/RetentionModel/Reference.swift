/// One edge: a place in a table whose value names blobs. Every occurrence counts once; NULL and the empty key refer to nothing.
public struct Reference: Equatable, Sendable {
  /// The referring table.
  public var table: String
  /// How its rows name blobs.
  public var kind: Kind

  /// How a row names blobs.
  public enum Kind: Equatable, Sendable {
    /// A column that holds one key.
    case scalar(column: String)
    /// A column that holds an array of keys.
    case array(column: String)
    /// A `bytea` or `text` column in which every run of exactly 64 lower-case hex digits is a key.
    case scan(column: String)
    /// An SQL expression over the row's columns that yields a key, or a set of keys. It must depend on nothing but
    /// `columns`, name them unqualified, and qualify functions and types that are not in `pg_catalog`.
    case expression(sql: String, columns: [String])
  }

  /// Creates an edge.
  public init(table: String, kind: Kind) {
    self.table = table
    self.kind = kind
  }

  /// The columns on which the edge depends; an update of any other column leaves it alone.
  public var columns: [String] {
    switch kind {
    case .scalar(let column), .array(let column), .scan(let column): [column]
    case .expression(_, let columns): columns
    }
  }
}
