/// What a movement of blobs has done.
public struct MoveSummary: Sendable {
  /// What was moved; in a dry run what would be.
  public var moved = TransferProgress.Amount()
  /// Blobs that were left alone, by the reason.
  public var skipped: [String: Int] = [:]
  /// Blobs that could not be moved; each is in the log.
  public var failed = 0

  mutating func add(_ other: MoveSummary) {
    moved.count += other.moved.count
    moved.bytes += other.moved.bytes
    skipped.merge(other.skipped, uniquingKeysWith: +)
    failed += other.failed
  }
}
