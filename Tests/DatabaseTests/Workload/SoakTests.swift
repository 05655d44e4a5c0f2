import EmbeddedPostgres
import Foundation
import Postgres
import RetentionModel
import RetentionRunner
import Testing

private let minutes = ProcessInfo.processInfo.environment["JAM_SOAK_MINUTES"].flatMap(Double.init) ?? 0

/// A long run of everything at once: `make soak MINUTES=n`.
@Suite(.serialized, .enabled(if: minutes > 0, "JAM_SOAK_MINUTES says for how long"))
struct SoakTests {
  @Test("Writers, collections, folds, repairs and uploads at once", arguments: RefcountingMode.allCases)
  func soak(mode: RefcountingMode) throws {
    let server = try EmbeddedPostgres.start(settings: [
      "fsync": "on", "synchronous_commit": "off", "deadlock_timeout": "100ms",
    ])
    defer { server.stop() }
    let database = try TestDatabase(mode, on: server)
    _ = try database.migrate()
    try database.submit([])
    try database.retention.setPolicy("batch_size", to: "50")
    let seed = UInt64.random(in: 0..<1 << 48)
    let workload = Workload(database: database)
    workload.start(writers: 8, seed: seed)
    workload.start { connection in
      try workload.cleaning { _ = try connection.query("CALL jam_cleanup()") }
      // Half the time without a cleanup, so that latencies can be compared.
      workload.wait(forEvents: 100)
    }
    workload.start { connection in
      _ = try connection.query("SELECT jam_fold_references()")
      workload.wait(forEvents: 20)
    }
    workload.start { connection in
      let corrected = try connection.query("SELECT jam_repair_refcounts() AS n").first?.int("n")
      #expect(corrected == 0)
      workload.wait(forEvents: 500)
    }
    let observer = try database.connect()
    let end = ContinuousClock.now + .seconds(minutes * 60 / 2)
    var snapshots = 0
    while ContinuousClock.now < end {
      let drift = try observer.query("SELECT FROM jam_verify_refcounts()").rows.count
      let lost = try database.lostReferences(on: observer)
      #expect(drift == 0 && lost == 0, "seed \(seed)")
      snapshots += 1
      workload.wait(forEvents: 200)
    }
    workload.stop()
    try database.expectLaw()
    #expect(try database.lostReferences(on: observer) == 0)
    #expect(try database.retention.repair() == 0)

    let counts = workload.current
    #expect(counts.failures == [:])
    let runs = try #require(
      observer.query(
        """
        SELECT count(*) FILTER (WHERE status = 'completed') AS completed, count(*) FILTER (WHERE status <> 'completed') AS others,
          coalesce(sum(deleted_preimages), 0)::bigint AS freed, coalesce(sum(deleted_packages), 0)::bigint AS packages,
          (SELECT count(*) FROM jam_refcount_anomalies) AS anomalies,
          (SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()) AS deadlocks
        FROM jam_cleanup_runs
        """
      ).first
    )
    #expect(try runs.int("others") == 0 && runs.int("anomalies") == 0 && runs.int("deadlocks") == 0)
    print(
      """
      soak \(mode.rawValue): seed \(seed), \(counts.events) events (\(counts.submits) submits), \
      \(try runs.int("completed")) collections, \(try runs.int("freed")) blobs and \(try runs.int("packages")) packages freed, \
      \(snapshots) snapshots, lost references 0, drift 0, deadlocks \(try runs.int("deadlocks")), failed submits \(counts.failures.values.reduce(0, +)); \
      submit p50/p99 ms: quiet \(percentiles(counts.quietLatencies)), during a cleanup \(percentiles(counts.busyLatencies))
      """
    )
  }

  private func percentiles(_ values: [Double]) -> String {
    guard !values.isEmpty else { return "none" }
    let sorted = values.sorted()
    return [0.5, 0.99].map { String(format: "%.2f", sorted[Int(Double(sorted.count - 1) * $0)]) }.joined(separator: "/")
  }
}
