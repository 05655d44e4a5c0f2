import Foundation

/// An object as a listing shows it.
public struct ListedObject: Sendable, Equatable {
  /// The whole key, with the prefix.
  public let key: String
  /// Its bytes.
  public let size: Int64
  /// When it was stored, by the store's clock.
  public let lastModified: Date

  /// An object of a listing.
  public init(key: String, size: Int64, lastModified: Date) {
    self.key = key
    self.size = size
    self.lastModified = lastModified
  }
}
