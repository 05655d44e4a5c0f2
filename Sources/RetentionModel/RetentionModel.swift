/// The application's tables, what in them refers to blobs, and what expires: all that the generator needs to know.
///
/// A model is plain data. Build it in Swift (``jam``) or read it from YAML, then check it with `validate()`:
/// the generator takes only a model that has passed.
public struct RetentionModel: Equatable, Sendable {
  /// The PostgreSQL schema of the application's tables and of everything that is generated.
  public var schema: String
  /// Put before the name of every generated object: `jam_` makes `jam_cleanup`.
  public var prefix: String
  /// Whether reference changes are applied to the blob rows at once or by the next fold.
  public var refcounting: RefcountingMode
  /// The application's tables, in the order in which they can be created.
  public var tables: [Table]
  /// The table whose rows are counted.
  public var blobs: BlobTable
  /// What refers to blobs.
  public var references: [Reference]
  /// What expires.
  public var classes: [DataClass]

  /// Creates a model without checking it.
  public init(
    schema: String = "public",
    prefix: String = "jam_",
    refcounting: RefcountingMode = .immediate,
    tables: [Table],
    blobs: BlobTable,
    references: [Reference],
    classes: [DataClass]
  ) {
    self.schema = schema
    self.prefix = prefix
    self.refcounting = refcounting
    self.tables = tables
    self.blobs = blobs
    self.references = references
    self.classes = classes
  }
}

extension RetentionModel {
  /// Whether the keys of the blobs are bytes, `bytea`, and not text in hex.
  package var hasBinaryKey: Bool {
    tables.first { $0.name == blobs.table }?.columns.first { $0.name == blobs.key }?.comparableType == "bytea"
  }
}

/// When a change of a reference reaches the blob's own row. Both modes give the same guarantees.
public enum RefcountingMode: String, CaseIterable, Equatable, Sendable {
  /// In the statement that changes the reference, for blob rows that nobody else has locked; the rest goes to the ledger.
  case immediate
  /// At the next fold: everything goes to the ledger first.
  case deferred
}
