/// What a column holds, as far as a reader of its text must know.
public enum ColumnType: Sendable {
  case boolean
  case number
  /// Everything else.
  case text

  /// By the type's OID, which never changes for a built-in type.
  /// Source: PostgreSQL, src/include/catalog/pg_type.dat.
  init(oid: UInt32) {
    switch oid {
    case 16: self = .boolean
    // bigint, smallint, integer, real, double precision, numeric.
    case 20, 21, 23, 700, 701, 1700: self = .number
    default: self = .text
    }
  }
}
