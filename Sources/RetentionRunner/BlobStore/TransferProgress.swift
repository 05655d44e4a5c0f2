import Foundation
import Synchronization

/// Tells how far a movement of blobs is: how many, how much, how fast, and how long it may still take.
public final class TransferProgress: Sendable {
  /// What has been moved so far.
  public struct Amount: Equatable, Sendable {
    /// Blobs or objects.
    public var count: Int
    /// Their bytes.
    public var bytes: Int64

    /// An amount.
    public init(count: Int = 0, bytes: Int64 = 0) {
      self.count = count
      self.bytes = bytes
    }
  }

  private struct State {
    var done = Amount()
    var total: Amount?
    var lastWritten: ContinuousClock.Instant
    var hasWritten = false
  }

  private let title: String
  private let isTerminal: Bool
  private let write: @Sendable (String) -> Void
  private let start = ContinuousClock.now
  private let state: Mutex<State>

  /// - Parameters:
  ///   - title: what is being done.
  ///   - isTerminal: one line that is written again and again, five times a second; else a line every ten seconds.
  ///   - write: takes text with the line ends and control characters that it needs.
  public init(_ title: String, isTerminal: Bool, write: @escaping @Sendable (String) -> Void) {
    self.title = title
    self.isTerminal = isTerminal
    self.write = write
    state = Mutex(State(lastWritten: start))
  }

  /// What has been moved so far.
  public var done: Amount { state.withLock(\.done) }

  /// Says how much there is to do, where that is known.
  public func expect(_ total: Amount) {
    state.withLock { $0.total = total }
  }

  /// Adds what was moved.
  public func add(count: Int = 0, bytes: Int64 = 0) {
    let now = ContinuousClock.now
    let text = state.withLock { state -> String? in
      state.done.count += count
      state.done.bytes += bytes
      guard now - state.lastWritten >= (isTerminal ? .milliseconds(200) : .seconds(10)) else { return nil }
      state.lastWritten = now
      state.hasWritten = true
      return line(state, elapsed: (now - start) / .seconds(1))
    }
    if let text { write(isTerminal ? "\r\u{1B}[K" + text : text + "\n") }
  }

  /// Removes the line from the terminal.
  public func finish() {
    if isTerminal, state.withLock(\.hasWritten) { write("\r\u{1B}[K") }
  }

  private func line(_ state: State, elapsed: Double) -> String {
    let rate = elapsed > 0 ? Double(state.done.bytes) / elapsed : 0
    var text = "\(title): \(state.done.count)"
    if let total = state.total { text += " of \(total.count)" }
    text += ", \(ByteCount.text(state.done.bytes))"
    if let total = state.total { text += " of \(ByteCount.text(total.bytes))" }
    text += ", \(ByteCount.text(Int64(rate)))/s"
    if let total = state.total, rate > 0 {
      let left = Int(Double(max(0, total.bytes - state.done.bytes)) / rate)
      text += ", \(left / 60):\(left % 60 < 10 ? "0" : "")\(left % 60) left"
    }
    return text
  }
}
