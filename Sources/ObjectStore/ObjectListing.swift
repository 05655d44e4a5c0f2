/// One page of a listing.
public struct ObjectListing: Sendable {
  /// The objects, in the order of their keys' bytes; there may be none although there is a next page.
  public let objects: [ListedObject]
  /// Give this for the next page; nil at the end.
  public let next: String?

  /// A page, as a store returns it.
  public init(objects: [ListedObject], next: String?) {
    self.objects = objects
    self.next = next
  }
}
