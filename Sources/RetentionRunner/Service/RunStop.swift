import Foundation
import Logging
import Synchronization

/// Ends a cleanup run at the end of its batch, from a second session: the run looks at its own record before each batch,
/// and this says there that it is over. A cancelled statement would roll back the batch. A run that has no record yet has
/// no batch either: it counts, for a dry run or for `max_delete_fraction`, and is given up.
final class RunStop: Sendable {
  private struct State {
    var run: Int?
    var isRequested = false
    var hasEnded = false
  }

  private let connections: ServiceConnections
  private let reason: @Sendable () -> String
  private let giveUp: @Sendable () -> Void
  private let state = Mutex(State())

  /// - Parameter giveUp: cancels the call of the cleanup; returns at once.
  init(
    _ connections: ServiceConnections,
    reason: @escaping @Sendable () -> String,
    giveUp: @escaping @Sendable () -> Void
  ) {
    self.connections = connections
    self.reason = reason
    self.giveUp = giveUp
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
    let (isFirst, run) = state.withLock { state in
      defer { state.isRequested = true }
      return (!state.isRequested, state.run)
    }
    guard isFirst else { return }
    guard let run else { return giveUp() }
    Thread { self.end(run) }.start()
  }

  /// Tries again until the run is over, by itself or by this: its record may not be committed yet, and a connection may
  /// not be had.
  private func end(_ run: Int) {
    while !state.withLock(\.hasEnded) {
      do {
        let database = try connections.openForWork()
        defer { database.connection.close() }
        if try database.endRun(run, error: reason()) { return }
      } catch {
        connections.logger.debug("the cleanup cannot be told to end", metadata: ["error": "\(error)"])
      }
      Thread.sleep(forTimeInterval: 0.1)
    }
  }
}
