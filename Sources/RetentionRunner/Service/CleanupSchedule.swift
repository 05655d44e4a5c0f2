import Foundation

/// Decides when a cleanup is due, from the runs of the past alone. It has no clock of its own, and no memory: whoever made
/// the last run, and however many services look, the answer is the same.
struct CleanupSchedule: Equatable, Sendable {
  private static let day: TimeInterval = 86400
  /// How long the first new attempt waits after a run that failed or was interrupted; every further one waits longer.
  private static let firstRetry: TimeInterval = 1
  private static let retryGrowth: TimeInterval = 8

  /// The time between two runs.
  let interval: TimeInterval
  /// When a run begins; nil: an interval after the last.
  let time: TimeOfDay?

  /// The moment from which on a run is due. A run that was missed is made up once, since only the last one counts.
  ///
  /// - Parameters:
  ///   - start: when the service was started; before it nothing is due.
  ///   - jitter: how long a run waits that is due at that moment.
  func dueTime(after history: CleanupHistory, start: Date, jitter: TimeInterval) -> Date {
    var due = start.addingTimeInterval(jitter)
    if let last = history.lastStart {
      let regular = nextRegular(after: last)
      if regular > start { due = regular }
    } else if let time, history.attempts == 0 {
      due = Self.first(time.seconds, every: Self.step(interval), after: start)
    }
    if let attempt = history.lastAttempt { due = max(due, attempt.addingTimeInterval(retryDelay(history.attempts))) }
    return due
  }

  /// Whether runs of this interval can begin at one time of day.
  static func canKeepTime(_ interval: Duration) -> Bool {
    let seconds = interval.components.seconds
    return seconds > 0 && (seconds % Int64(day) == 0 || Int64(day) % seconds == 0)
  }

  private func nextRegular(after last: Date) -> Date {
    guard let time else { return last.addingTimeInterval(interval) }
    // With an interval of days, the day on which the last one was late does not move the next.
    let step = Self.step(interval)
    return Self.first(time.seconds, every: step, after: last.addingTimeInterval(interval - step))
  }

  private func retryDelay(_ attempts: Int) -> TimeInterval {
    min(interval, Self.firstRetry * pow(Self.retryGrowth, Double(max(attempts, 1) - 1)))
  }

  private static func step(_ interval: TimeInterval) -> TimeInterval { min(interval, day) }

  /// The first moment after another that is so many seconds after midnight, or whole steps away from that.
  private static func first(_ seconds: Int, every step: TimeInterval, after moment: Date) -> Date {
    let offset = TimeInterval(seconds)
    let steps = ((moment.timeIntervalSince1970 - offset) / step).rounded(.down) + 1
    return Date(timeIntervalSince1970: offset + steps * step)
  }
}
