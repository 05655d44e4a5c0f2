import Foundation
import Logging
import Synchronization

/// Ends a cleanup run at the end of its batch, from a second session: the run looks at its own record before each batch,
/// and this says there that it is over. A cancelled statement would roll back the batch.
final class RunStop: Sendable {
  private struct State {
    var run: Int?
    var isRequested = false
    var hasEnded = false
  }

  private let connections: ServiceConnections
  private let reason: @Sendable () -> String
  private let state = Mutex(State())

  init(_ connections: ServiceConnections, reason: @escaping @Sendable () -> String) {
    self.connections = connections
    self.reason = reason
  }

  /// The run has a record now.
  func runHasBegun(_ run: Int) {
    state.withLock { $0.run = run }
  }

  /// The call has returned: there is nothing to end any more.
  func runHasEnded() {
    state.withLock { $0.hasEnded = true }
  }

  /// Has the run end; returns at once.
  func request() {
    let isFirst = state.withLock { state in
      defer { state.isRequested = true }
      return !state.isRequested
    }
    if isFirst { Thread { self.endRun() }.start() }
  }

  /// Tries again until the run is over, by itself or by this: its record may not be committed yet, and a connection may
  /// not be had.
  private func endRun() {
    while true {
      let (run, hasEnded) = state.withLock { ($0.run, $0.hasEnded) }
      if hasEnded { return }
      do {
        if let run {
          let database = try connections.openForWork()
          defer { database.connection.close() }
          if try database.endRun(run, error: reason()) { return }
        }
      } catch {
        connections.logger.debug("the cleanup cannot be told to end", metadata: ["error": "\(error)"])
      }
      Thread.sleep(forTimeInterval: 0.1)
    }
  }
}
