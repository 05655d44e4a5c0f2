import Foundation

/// What the client takes from outside, so that tests can replace it.
struct S3Surroundings: Sendable {
  var now: @Sendable () -> Date = { Date() }
  var sleep: @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
  var random: @Sendable (ClosedRange<Double>) -> Double = { Double.random(in: $0) }
  /// Host names that are not looked up.
  var addresses: [String: String] = [:]
}
