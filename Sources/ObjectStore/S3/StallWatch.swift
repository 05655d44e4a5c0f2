import Synchronization

/// Notices when the store neither takes nor sends a byte for too long. Time in which the content's source is slow does
/// not count.
final class StallWatch: Sendable {
  struct Stalled: Error {}

  private let limit: Duration
  private let waitingSince = Mutex<ContinuousClock.Instant?>(.now)

  init(limit: Duration) {
    self.limit = limit
  }

  /// It is this side's turn.
  func pause() {
    waitingSince.withLock { $0 = nil }
  }

  /// It is the store's turn.
  func resume() {
    waitingSince.withLock { $0 = .now }
  }

  /// Whether the store has had its turn for too long.
  var hasStalled: Bool { waitingSince.withLock { $0.map { $0 + limit <= .now } ?? false } }

  /// Throws ``Stalled`` when the store has had its turn for too long.
  func watch() async throws -> Never {
    while true {
      let deadline = (waitingSince.withLock { $0 } ?? .now) + limit
      try await Task.sleep(until: deadline, clock: .continuous)
      if .now - deadline > limit / 2 {
        // This process itself was held up, and may not have seen yet what has come.
        waitingSince.withLock { if $0 != nil { $0 = .now } }
      } else if hasStalled {
        throw Stalled()
      }
    }
  }
}
