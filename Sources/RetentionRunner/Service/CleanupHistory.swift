import Foundation

/// What the runs of the past say about the next one, by the server's clock.
struct CleanupHistory: Equatable, Sendable {
  /// When this was read.
  var now: Date
  /// Whether the policy lets a cleanup do anything.
  var isEnabled = true
  /// When the last run began that counts: one that did its work, or is doing it.
  var lastStart: Date?
  /// How many runs since then have failed or were interrupted.
  var attempts = 0
  /// When the last of those ended.
  var lastAttempt: Date?
}
