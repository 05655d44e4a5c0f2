/// Which blobs are moved, and how fast.
public struct MoveOptions: Sendable {
  /// How many blobs are under way at once; each has a connection of its own.
  public var concurrency = 8
  /// Bytes a second over all of them; nil: as fast as it goes.
  public var maximumRate: Int64?
  /// Only blobs of more bytes than this.
  public var minimumBytes: Int64 = 0
  /// At most so many blobs.
  public var limit: Int?
  /// Only count.
  public var isDryRun = false

  /// The defaults.
  public init() {}
}
