/// Lets at most so many bytes pass in a second, over all who ask.
actor RateLimit {
  private let bytesPerSecond: Double
  private var isFreeAt = ContinuousClock.now

  init(bytesPerSecond: Int64) {
    self.bytesPerSecond = Double(bytesPerSecond)
  }

  /// Returns when so many bytes may pass.
  func pass(_ bytes: Int) async throws {
    let now = ContinuousClock.now
    let start = max(isFreeAt, now)
    isFreeAt = start + .seconds(Double(bytes) / bytesPerSecond)
    if start > now { try await Task.sleep(until: start, clock: .continuous) }
  }
}
