import Foundation
import Logging
import MigrationGenerator
import Postgres
import RetentionModel
import ServiceLifecycle
import Synchronization

/// What `serve` runs: the scheduler, and an HTTP server that tells how the installation is.
public final class RetentionService: Sendable {
  /// How long one question of the status page may take.
  private static let pagePatience: Duration = .seconds(2)
  /// How long all of them may take; a request has its answer within ten seconds.
  private static let pageBudget: Duration = .seconds(6)

  private let group: ServiceGroup
  private let logger: Logger
  private let stopReason: StopReason

  /// - Parameters:
  ///   - files: those that should be applied.
  ///   - blobStore: where objects are; nil: no object store is configured, so there is nothing to sweep.
  /// - Throws: `ConfigurationErrors` when the connection string cannot be read.
  public init(
    configuration: RetentionConfiguration,
    model: RetentionModel,
    files: [MigrationFile],
    blobStore: BlobStore?,
    logger: Logger
  ) throws {
    let connections = ServiceConnections(
      string: try configuration.connectionString(),
      model: model,
      logger: logger,
      interval: configuration.retentionInterval.value
    )
    let interval = TimeInterval(configuration.retentionInterval.value.components.seconds)
    let sessions = RequestSessions(connections)
    let requests = RequestConnections(sessions: 2) { try sessions.open() }
    // What a probe or a scrape asks does not wait for a page.
    let pages = RequestConnections(sessions: 1) { try sessions.open() }
    let migrator: @Sendable (RetentionDatabase) throws -> Migrator = { database in
      try Migrator(files: files, model: model, connection: database.connection, logger: logger)
    }
    let routes: [HTTPRoute] = [
      .health, .metrics(requests), .readiness(requests) { try $0.unreadiness(migrator($0)) },
      .statusPage(pages) { database in
        let reporter = StatusReporter(
          database: database,
          model: model,
          migrator: try migrator(database),
          patience: Self.pagePatience,
          budget: Self.pageBudget
        )
        return StatusPage(try reporter.report())
      },
    ]
    let stopReason = StopReason()
    let (ready, listening) = AsyncStream<Void>.makeStream()
    let server = HTTPServer(address: configuration.listenAddress.value, routes: routes, logger: logger) {
      listening.finish()
    }
    let jitter = TimeInterval(configuration.retentionJitter.value.components.seconds)
    let scheduler = Scheduler(
      connections: connections,
      schedule: CleanupSchedule(interval: interval, time: configuration.retentionTime.value),
      jitter: jitter > 0 ? .random(in: 0...min(jitter, interval)) : 0,
      blobStore: blobStore?.connecting { try connections.openForWork().connection },
      readiness: ready,
      stopReason: { stopReason.text }
    )
    // Services end in the reverse order: who asks while the last batch ends is answered.
    let silence = Logger(label: "lifecycle") { _ in SwiftLogNoOpLogHandler() }
    group = ServiceGroup(services: [server, scheduler], logger: silence)
    self.logger = logger
    self.stopReason = stopReason
  }

  /// Works until it is told to stop.
  ///
  /// - Throws: ``RunnerError`` when it cannot listen. A database that cannot be reached is waited for.
  public func run() async throws {
    try await group.run()
    logger.info("service stopped")
  }

  /// Has it end after the batch that is at work; returns at once.
  ///
  /// - Parameter signal: what told it so.
  public func stop(because signal: String) {
    stopReason.set("\(signal) ended the service; the run ended after its batch")
    logger.info("service stopping", metadata: ["signal": "\(signal)"])
    Task { await group.triggerGracefulShutdown() }
  }
}

private final class StopReason: Sendable {
  private let stored = Mutex("the service ended")

  var text: String { stored.withLock { $0 } }

  func set(_ text: String) {
    stored.withLock { $0 = text }
  }
}
