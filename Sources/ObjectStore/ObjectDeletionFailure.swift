/// An object of a batch that the store did not delete.
public struct ObjectDeletionFailure: Sendable {
  /// Its key.
  public let key: String
  /// Why.
  public let error: ObjectStoreError

  /// A failure, as a store returns it.
  public init(key: String, error: ObjectStoreError) {
    self.key = key
    self.error = error
  }
}
