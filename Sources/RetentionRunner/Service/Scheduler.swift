import Foundation
import Logging
import Postgres
import ServiceLifecycle
import Synchronization

/// Cleans up, folds and sweeps when it is time, where no other service does; else it stands by.
///
/// The one that works holds an advisory lock, and cleans up in the very session that holds it. So its work cannot outlast
/// its leadership, whoever dies or vanishes: the session, the lock and the statement end together. Where a pooler or a
/// network shows two of them for a moment, nothing goes wrong either: only one cleanup and one fold work at a time
/// anyway, and when a run is due is decided from the database.
final class Scheduler: Service {
  /// How often a service that waits looks whether there is something to do, or somebody gone.
  private static let look: Duration = .seconds(5)
  /// A ledger that has grown by so many entries is folded at once.
  private static let longLedger = 10_000
  private static let foldInterval: Duration = .seconds(60)
  private static let sweepInterval: Duration = .seconds(60)
  /// Objects that a sweep deletes before it looks whether the service is to end.
  private static let sweepBatch = 1000

  let connections: ServiceConnections
  let schedule: CleanupSchedule
  /// How long a run that is due at start-up waits.
  let jitter: TimeInterval
  /// Where objects are; nil: no object store is configured.
  let blobStore: BlobStore?
  /// Tells why the service ends.
  let stopReason: @Sendable () -> String
  /// Finishes when the service may begin.
  let readiness: AsyncStream<Void>
  /// The server's time before which no run is due; nil until the server has told the time.
  private let earliest = Mutex<Date?>(nil)

  private var logger: Logger { connections.logger }
  private var isEnding: Bool { Task.isCancelled || Task.isShuttingDownGracefully }

  init(
    connections: ServiceConnections,
    schedule: CleanupSchedule,
    jitter: TimeInterval,
    blobStore: BlobStore?,
    readiness: AsyncStream<Void>,
    stopReason: @escaping @Sendable () -> String
  ) {
    self.connections = connections
    self.schedule = schedule
    self.jitter = jitter
    self.blobStore = blobStore
    self.readiness = readiness
    self.stopReason = stopReason
  }

  func run() async throws {
    for await _ in readiness {}
    var backoff = Backoff()
    while !isEnding {
      do {
        let connections = connections
        let session = try await BackgroundConnection.open { try connections.openForWork().connection }
        backoff.reset()
        try await work(in: session)
      } catch {
        if isEnding { break }
        logger.warning("database not available", metadata: ["error": "\(error)"])
        await pause(backoff.next())
      }
    }
  }

  /// Waits, less when the service is to end.
  private func pause(_ duration: Duration) async {
    try? await cancelWhenGracefulShutdown { try await Task.sleep(for: duration) }
  }

  private func database(_ connection: Connection) -> RetentionDatabase {
    RetentionDatabase(connection: connection, model: connections.model, logger: logger)
  }

  // MARK: Leadership

  /// Waits for the lock, then works, until the service is to end or the session is lost.
  private func work(in session: BackgroundConnection) async throws {
    var isStandingBy = false
    while !isEnding {
      if try await session.run({ [self] in try database($0).takeServiceLock() }) {
        logger.info("leadership gained")
        do {
          try await lead(in: session)
        } catch {
          logger.warning("leadership lost", metadata: ["error": "\(error)"])
          throw error
        }
        return
      }
      if !isStandingBy { logger.info("standing by") }
      isStandingBy = true
      await pause(Self.look)
    }
  }

  private func lead(in session: BackgroundConnection) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.cleanUpWhenDue(in: session) }
      group.addTask { await self.fold() }
      if let blobStore { group.addTask { await self.sweep(blobStore) } }
      // The first that throws has lost the session; the others end with it.
      for try await _ in group {}
    }
  }

  // MARK: Cleanups

  private func cleanUpWhenDue(in session: BackgroundConnection) async throws {
    var backoff = Backoff(first: Self.look, longest: .seconds(300))
    var announced: Date?
    var isDisabled = false
    while !isEnding {
      var wait = Self.look
      do {
        let history = try await session.run { [self] connection in
          try database(connection).checkServiceLock()
          return try database(connection).cleanupHistory()
        }
        if history.isEnabled != !isDisabled {
          isDisabled = !history.isEnabled
          if isDisabled { logger.warning("the policy disables the cleanup") }
        }
        let due = schedule.dueTime(after: history, earliest: earliest(history.now))
        if history.isEnabled, due <= history.now {
          announced = nil
          guard try await cleanUp(in: session) else {
            // Where the failure is on record, that decides when it is tried again; one without a record waits at least.
            await pause(backoff.next())
            continue
          }
          wait = .zero
        } else if history.isEnabled {
          if announced != due { logger.info("next cleanup", metadata: ["due": "\(due.ISO8601Format())"]) }
          announced = due
          wait = min(Self.look, .seconds(due.timeIntervalSince(history.now)))
        }
        backoff.reset()
      } catch let error as PostgresError where error.kind == .connection {
        throw error
      } catch {
        logger.error("schedule not readable", metadata: ["error": "\(error)"])
        wait = backoff.next()
      }
      if wait > .zero { await pause(wait) }
    }
  }

  private func earliest(_ now: Date) -> Date {
    earliest.withLock { earliest in
      let known = earliest ?? now.addingTimeInterval(jitter)
      earliest = known
      return known
    }
  }

  /// Runs a cleanup and returns whether it did not fail. When the service is to end, the run ends after its batch.
  ///
  /// - Throws: `PostgresError` when the session is lost; any other failure is logged.
  private func cleanUp(in session: BackgroundConnection) async throws -> Bool {
    let stop = RunStop(connections, reason: stopReason)
    defer { stop.runHasEnded() }
    do {
      try await withTaskCancellationHandler {
        try await withGracefulShutdownHandler {
          try await session.run { [self] in _ = try database($0).cleanup { stop.runHasBegun($0) } }
        } onGracefulShutdown: {
          stop.request()
        }
      } onCancel: {
        session.interrupt()
      }
      return true
    } catch let error as PostgresError where error.kind == .connection {
      throw error
    } catch {
      return false
    }
  }

  // MARK: Folds and sweeps

  private func fold() async {
    var session: BackgroundConnection?
    var backoff = Backoff(first: Self.look, longest: .seconds(60))
    var left = 0
    var last: ContinuousClock.Instant?
    while !isEnding {
      var wait = Self.look
      do {
        let connections = connections
        let current: BackgroundConnection
        if let session {
          current = session
        } else {
          current = try await .open { try connections.openForWork().connection }
          session = current
        }
        let isTime = last.map { ContinuousClock.now - $0 >= Self.foldInterval } ?? true
        let isLongFrom = left + Self.longLedger
        let folded = try await withTaskCancellationHandler {
          try await current.run { [self] connection -> Int? in
            let database = database(connection)
            let entries = try database.ledgerEntries()
            guard entries > 0, isTime || entries >= isLongFrom else { return nil }
            _ = try database.fold()
            return try database.ledgerEntries()
          }
        } onCancel: {
          current.interrupt()
        }
        if let folded { left = folded }
        if folded != nil || isTime { last = .now }
        backoff.reset()
      } catch {
        if isEnding { return }
        session = nil
        logger.warning("fold failed", metadata: ["error": "\(error)"])
        wait = backoff.next()
      }
      await pause(wait)
    }
  }

  private func sweep(_ store: BlobStore) async {
    while !isEnding {
      do {
        var isMore = try await store.sweep(limit: 1, isDryRun: true).deleted.count > 0
        while isMore, !isEnding {
          let sweep = try await store.sweep(limit: Self.sweepBatch)
          logger.info("sweep", metadata: sweep.metadata)
          isMore = sweep.deleted.count + sweep.failed == Self.sweepBatch
        }
      } catch {
        if isEnding { return }
        logger.warning("sweep failed", metadata: ["error": "\(error)"])
      }
      await pause(Self.sweepInterval)
    }
  }
}

extension BlobStore.Sweep {
  fileprivate var metadata: Logger.Metadata {
    [
      "deleted": .stringConvertible(deleted.count), "bytes": .stringConvertible(deleted.bytes),
      "failed": .stringConvertible(failed), "waiting": .stringConvertible(waiting),
    ]
  }
}
