/// How often, and after which pauses, a request is repeated that failed for a reason that may pass: a timeout, a broken
/// connection, HTTP 5xx or 429.
public struct S3RetryPolicy: Sendable {
  /// The attempts for one request, the first included; 1 means no repetition.
  public var attempts: Int
  /// The longest pause before the second attempt; it doubles with each further one.
  public var firstPause: Duration
  /// The longest pause at all. A store that asks for a longer one (`Retry-After`) is not asked again.
  public var longestPause: Duration

  /// A policy.
  public init(attempts: Int = 6, firstPause: Duration = .milliseconds(200), longestPause: Duration = .seconds(30)) {
    self.attempts = attempts
    self.firstPause = firstPause
    self.longestPause = longestPause
  }

  /// The pause after an attempt, counted from 1; nil when there is to be no other.
  ///
  /// "Full jitter": anything between nothing and the limit, so that clients that failed together do not come back
  /// together ("Exponential Backoff And Jitter", AWS Architecture Blog). Never less than the store asks for.
  func pause(after attempt: Int, retryAfter: Duration?, random: (ClosedRange<Double>) -> Double) -> Duration? {
    guard attempt < attempts, retryAfter ?? .zero <= longestPause else { return nil }
    let limit = min(longestPause, firstPause * (1 << min(attempt - 1, 30)))
    return max(retryAfter ?? .zero, limit * random(0...1))
  }
}
