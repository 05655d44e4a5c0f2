import Foundation
import Postgres
import Synchronization

/// Tells how far a cleanup is while it runs, seen from a second connection. The cleanup never fails because of it.
public final class CleanupProgress: Sendable {
  /// How it is told.
  public enum Style: Sendable {
    /// One line that is written again and again.
    case terminal
    /// A line now and then.
    case lines
  }

  private struct State {
    var isFinished = false
    var hasWritten = false
  }

  private static let eraseLine = "\r\u{1B}[K"
  private static let looksPerLine = 10

  private let style: Style
  private let interval: TimeInterval
  private let database: RetentionDatabase
  private let connect: @Sendable () throws -> Connection
  private let write: @Sendable (String) -> Void
  private let state = Mutex(State())
  private let finished = DispatchSemaphore(value: 0)

  /// - Parameters:
  ///   - database: where the cleanup runs.
  ///   - interval: seconds between two looks; as lines, every tenth look writes.
  ///   - connect: opens the second connection.
  ///   - write: takes text with the line ends and control characters that it needs.
  public init(
    of database: RetentionDatabase,
    style: Style,
    interval: TimeInterval = 0.5,
    connect: @escaping @Sendable () throws -> Connection,
    write: @escaping @Sendable (String) -> Void
  ) {
    self.database = database
    self.style = style
    self.interval = interval
    self.connect = connect
    self.write = write
  }

  /// Tells about the cleanup that the body runs, until the body ends; once in the life of this object.
  public func during<Result>(_ body: () throws -> Result) throws -> Result {
    let start = try database.clock()
    Thread { self.watch(since: start) }.start()
    defer {
      state.withLock { state in
        state.isFinished = true
        if style == .terminal, state.hasWritten { write(Self.eraseLine) }
      }
      finished.signal()
    }
    return try body()
  }

  private func watch(since start: String) {
    do {
      // A cleanup that is over before the first look needs neither a word nor a connection.
      guard finished.wait(timeout: .now() + interval) == .timedOut else { return }
      let second = database.on(try connect())
      defer { second.connection.close() }
      var looks = 0
      repeat {
        looks += 1
        if style == .terminal || looks % Self.looksPerLine == 0, let run = try second.runInProgress(since: start) {
          tell(run)
        }
      } while finished.wait(timeout: .now() + interval) == .timedOut
    } catch {
      database.logger.debug("the progress of the cleanup cannot be told: \(error)")
    }
  }

  private func tell(_ run: RetentionDatabase.RunInProgress) {
    let counts = "\(run.batches.counting("batch", plural: "batches")), \(run.deletedRows.counting("row")) deleted"
    let text = "cleanup: \(counts), \(run.elapsedSeconds) s"
    state.withLock { state in
      // What the cleanup's end has written must not be overwritten.
      guard !state.isFinished else { return }
      state.hasWritten = true
      write(style == .terminal ? Self.eraseLine + text : text + "\n")
    }
  }
}
