import Foundation

/// What a store says about an object.
public struct ObjectAttributes: Sendable, Equatable {
  /// The bytes of the whole object.
  public let size: Int64
  /// The media type that the object was stored with; `application/octet-stream` where the store has none.
  public let contentType: String
  /// When the object was stored, to the second, by the store's clock.
  public let lastModified: Date

  /// Attributes of an object.
  public init(size: Int64, contentType: String, lastModified: Date) {
    self.size = size
    self.contentType = contentType
    self.lastModified = lastModified
  }
}
