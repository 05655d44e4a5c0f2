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
  /// How often the store is asked for uploads that died: it has to list them all.
  private static let uploadInterval: Duration = .seconds(86400)
  /// Objects of which one event tells.
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
  private let started = ContinuousClock.now
  /// The start by the server's clock; nil until the server has told the time.
  private let start = Mutex<Date?>(nil)

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
    await cancelWhenGracefulShutdown { [readiness] in for await _ in readiness {} }
    var backoff = Backoff()
    while !isEnding {
      do {
        let session = try await open()
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

  /// Opens a session, and does not wait for it when the service is to end.
  private func open() async throws -> BackgroundConnection {
    try await cancelWhenGracefulShutdown { [connections] in
      try await BackgroundConnection.open { try connections.openForWork().connection }
    }
  }

  /// Runs calls that leave nothing half done when they are given up, as they are when the service is to end.
  private func run<Value: Sendable>(
    in session: BackgroundConnection,
    _ body: @escaping @Sendable (RetentionDatabase) throws -> Value
  ) async throws -> Value {
    try await cancelWhenGracefulShutdown { [self] in
      try await session.runUntilCancelled { [self] in try body(database($0)) }
    }
  }

  private func database(_ connection: Connection) -> RetentionDatabase {
    RetentionDatabase(connection: connection, model: connections.model, logger: logger)
  }

  // MARK: Leadership

  /// Waits for the lock, then works, until the service is to end or the session is lost.
  private func work(in session: BackgroundConnection) async throws {
    var isStandingBy = false
    while !isEnding {
      if try await run(in: session, { try $0.takeServiceLock() }) {
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
    var wasEnabled = true
    while !isEnding {
      var wait = Self.look
      do {
        let history = try await run(in: session) { database in
          try database.checkServiceLock()
          return try database.cleanupHistory()
        }
        if wasEnabled, !history.isEnabled { logger.warning("the policy disables the cleanup") }
        wasEnabled = history.isEnabled
        let due = schedule.dueTime(after: history, start: start(history.now), jitter: jitter)
        if history.isEnabled, due <= history.now {
          announced = nil
          guard let status = try await cleanUp(in: session) else {
            // Where the failure is on record, that decides when it is tried again; one without a record waits at least.
            await pause(backoff.next())
            continue
          }
          // Any other status leaves the run due, for instance beside one that has no record yet.
          if ["completed", "partial"].contains(status) { wait = .zero }
        } else if history.isEnabled {
          if announced != due { logger.info("next cleanup", metadata: ["due": "\(due.ISO8601Format())"]) }
          announced = due
          wait = min(Self.look, .seconds(due.timeIntervalSince(history.now)))
        }
        backoff.reset()
      } catch let error as PostgresError where error.kind == .connection {
        throw error
      } catch {
        if isEnding { return }
        logger.error("schedule not readable", metadata: ["error": "\(error)"])
        wait = backoff.next()
      }
      if wait > .zero { await pause(wait) }
    }
  }

  /// The service's start by the server's clock, whenever this one came to work.
  private func start(_ now: Date) -> Date {
    start.withLock { start in
      let known = start ?? now.addingTimeInterval((started - ContinuousClock.now) / .seconds(1))
      start = known
      return known
    }
  }

  /// Runs a cleanup and returns its status; nil when it has failed. When the service is to end, the run ends after its batch.
  ///
  /// - Throws: `PostgresError` when the session is lost; any other failure is logged.
  private func cleanUp(in session: BackgroundConnection) async throws -> String? {
    let stop = RunStop(connections, reason: stopReason) { session.interrupt() }
    defer { stop.runHasEnded() }
    do {
      return try await withGracefulShutdownHandler {
        try await session.runUntilCancelled { [self] connection in
          try database(connection).cleanup { stop.runHasBegun($0) }.string("status")
        }
      } onGracefulShutdown: {
        stop.request()
      }
    } catch let error as PostgresError where error.kind == .connection {
      throw error
    } catch {
      return nil
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
        let current: BackgroundConnection
        if let session {
          current = session
        } else {
          current = try await open()
          session = current
        }
        let isTime = last.map { ContinuousClock.now - $0 >= Self.foldInterval } ?? true
        let isLongFrom = left + Self.longLedger
        let folded = try await run(in: current) { database -> Int? in
          let entries = try database.ledgerEntries()
          guard entries > 0, isTime || entries >= isLongFrom else { return nil }
          _ = try database.fold()
          return try database.ledgerEntries()
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
    var lastRemoval: ContinuousClock.Instant?
    while !isEnding {
      do {
        try await cancelWhenGracefulShutdown { try await self.sweepDeletions(store) }
        if lastRemoval.map({ ContinuousClock.now - $0 >= Self.uploadInterval }) ?? true {
          let removed = try await cancelWhenGracefulShutdown { try await store.removeUnfinishedUploads() }
          if removed > 0 { logger.info("unfinished uploads removed", metadata: ["count": .stringConvertible(removed)]) }
          lastRemoval = .now
        }
      } catch {
        if isEnding { return }
        logger.warning("sweep failed", metadata: ["error": "\(error)"])
      }
      await pause(Self.sweepInterval)
    }
  }

  private func sweepDeletions(_ store: BlobStore) async throws {
    var isMore = try await store.dueDeletions(1).count > 0
    while isMore {
      let sweep = try await store.sweepDeletions(limit: Self.sweepBatch)
      logger.info("sweep", metadata: sweep.metadata)
      isMore = sweep.deleted.count + sweep.failed == Self.sweepBatch
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
