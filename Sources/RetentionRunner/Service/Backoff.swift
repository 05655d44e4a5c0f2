/// How long to wait before the next attempt at something that fails: twice as long each time, and not all at once.
struct Backoff: Sendable {
  private let first: Duration
  private let longest: Duration
  private var failures = 0

  init(first: Duration = .seconds(1), longest: Duration = .seconds(30)) {
    self.first = first
    self.longest = longest
  }

  /// The wait after one more failure.
  mutating func next() -> Duration {
    let wait = min(longest, first * (1 << min(failures, 20)))
    failures += 1
    // Several services that lost the same database come back one after the other.
    return wait * Double.random(in: 0.75...1)
  }

  /// It has worked.
  mutating func reset() {
    failures = 0
  }
}
