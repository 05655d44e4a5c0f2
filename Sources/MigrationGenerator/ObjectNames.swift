import RetentionModel
import SafeSQL

/// The names of generated objects: the model's prefix and what the object is for, in the model's schema.
public struct ObjectNames: Equatable, Sendable {
  /// The schema of the tables and of all generated objects.
  public let schema: Identifier
  private let prefix: String

  /// Takes schema and prefix from the model.
  public init(_ model: RetentionModel) {
    schema = Identifier(model.schema)
    prefix = model.prefix
  }

  /// The name of a generated object: `cleanup` becomes `public.jam_cleanup`.
  public func qualified(_ name: String) -> QualifiedName {
    QualifiedName(schema, identifier(name))
  }

  /// The same without the schema.
  public func identifier(_ name: String) -> Identifier {
    Identifier(base: prefix, suffix: name)
  }

  /// The key of the advisory lock that an installer holds: files applied by the runner and by `psql` exclude each other.
  public var installerLock: Int64 {
    Int64(bitPattern: FNV1a.hash("migrations of \(schema.name)"))
  }

  /// The key of the advisory lock that the working one of several services holds.
  public var serviceLock: Int64 {
    Int64(bitPattern: FNV1a.hash("service of \(qualified("cleanup").quoted)"))
  }

  /// The two keys of the advisory lock that a cleanup holds while it is at work on a batch.
  public func cleanupLock(of blobs: BlobTable) -> (namespace: Int32, key: Int32) {
    (lockNamespace(of: blobs), Int32(RetentionSchema.LockKey.cleanup))
  }

  /// The first key of every advisory lock of functions: derived from schema and blob table, so that two installations do
  /// not meet.
  func lockNamespace(of blobs: BlobTable) -> Int32 {
    Int32(truncatingIfNeeded: FNV1a.hash("\(schema.name)\u{0}\(blobs.table)"))
  }

  /// The name of a table of the application, which has no prefix added.
  public func table(_ name: String) -> QualifiedName {
    QualifiedName(schema, Identifier(name))
  }

  /// The name of an object that belongs to a table of the application: `jam_work_packages` and `count_insert` become
  /// `jam_work_packages_count_insert`.
  public func identifier(of table: String, _ purpose: String) -> Identifier {
    Identifier(base: table.hasPrefix(prefix) ? table : prefix + table, suffix: "_\(purpose)")
  }
}
