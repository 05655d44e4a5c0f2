/// The table of content-addressed blobs: which table it is, and which column means what.
public struct BlobTable: Equatable, Sendable {
  /// The name of one of the model's tables.
  public var table: String
  /// What the blobs are called in generated names, plural: `preimages` makes `jam_touch_preimages` and `deleted_preimages`.
  public var plural: String
  /// The singular: `preimage` makes `jam_preimage_refcounts`.
  public var singular: String
  /// The key, of type `text` or `bytea`; it must be the table's primary key.
  public var key: String
  /// The blob's size in bytes, `bigint`.
  public var size: String
  /// The media type, `text`.
  public var mediaType: String
  /// The inline content, `bytea`, nullable.
  public var data: String
  /// The moment of the first put, `timestamptz`.
  public var createdAt: String
  /// Where the content is, `text`.
  public var storageClass: String
  /// The number of references, `bigint`; owned by the database.
  public var refcount: String

  /// Creates a blob table; the columns are named as JAM names them unless told otherwise.
  public init(
    table: String,
    plural: String,
    singular: String,
    key: String = "hash",
    size: String = "size",
    mediaType: String = "media_type",
    data: String = "data",
    createdAt: String = "created_at",
    storageClass: String = "storage_class",
    refcount: String = "refcount"
  ) {
    self.table = table
    self.plural = plural
    self.singular = singular
    self.key = key
    self.size = size
    self.mediaType = mediaType
    self.data = data
    self.createdAt = createdAt
    self.storageClass = storageClass
    self.refcount = refcount
  }

  /// What its columns are for, each with its name in a model file.
  package var roles: [(name: String, column: String)] {
    [
      ("key", key), ("size", size), ("media_type", mediaType), ("data", data), ("created_at", createdAt),
      ("storage_class", storageClass), ("refcount", refcount),
    ]
  }

  /// Those of the roles in which no blob may have NULL, besides the key: it would be counted nowhere, and a look at where
  /// its content is would yield neither yes nor no.
  package var requiredRoles: [(name: String, column: String)] {
    roles.filter { ["size", "created_at", "storage_class", "refcount"].contains($0.name) }
  }
}
