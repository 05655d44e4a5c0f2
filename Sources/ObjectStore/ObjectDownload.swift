/// An object, or a part of it, on its way here.
public struct ObjectDownload: Sendable {
  /// Those of the whole object, also where only a part of it comes.
  public let attributes: ObjectAttributes
  /// The bytes of the object that ``body`` yields.
  public let range: Range<Int64>
  /// The bytes, to be read once. It throws when other than the announced number of bytes arrives; whether they are the
  /// right ones only their hash can tell.
  public let body: ByteStream

  /// A download, as a store returns it.
  public init(attributes: ObjectAttributes, range: Range<Int64>, body: ByteStream) {
    self.attributes = attributes
    self.range = range
    self.body = body
  }
}
