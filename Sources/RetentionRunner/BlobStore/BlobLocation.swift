/// Where a blob's content is.
public struct BlobLocation: Equatable, Sendable {
  /// The blob's key: the SHA-256 of its content, in lower-case hex.
  public let hash: String
  /// Bytes.
  public let size: Int64
  /// The media type that it was put with; may be empty.
  public let mediaType: String
  /// The name of its object, without the prefix; nil: the content is in the row.
  public let objectKey: String?
  /// When it was first put, as PostgreSQL writes it.
  public let createdAt: String

  /// `db` or `s3`.
  public var storageClass: String { objectKey == nil ? "db" : "s3" }
}
