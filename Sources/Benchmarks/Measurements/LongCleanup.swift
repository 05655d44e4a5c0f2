import Foundation
import Postgres
import Synchronization

/// Whether the last batches of a long cleanup are as fast as the first.
struct LongCleanup: Measurement {
  let name = "long-cleanup"
  let title = "rows per second in the last tenth of a long cleanup beside the first"

  func run(_ bench: Bench) throws -> [Line] {
    let count = bench.scale.longCleanup
    return try Variant.own.map { variant in
      let database = try bench.database(variant, copyOf: bench.template("blobs", Dataset.blobs))
      try database.load(
        """
        INSERT INTO jam_work_packages (id, service_id, preimage_hashes, created_at)
        SELECT gen_random_uuid(), \(Dataset.service), ARRAY[\(literal: Dataset.hot)], now() - interval '60 days' + n * interval '1 second'
        FROM generate_series(1, \(count)) AS n
        """
      )
      let rates = try rates(database, count)
      try bench.drop([database])
      return Line(
        measurement: name,
        what: "the last tenth of a cleanup of \(count) packages",
        variant: variant,
        unit: .perSecond,
        values: Spread(values: [rates.last]),
        ratios: Spread(values: [rates.last / rates.first]),
        reference: "its first tenth",
        target: count >= 2_000_000 ? .atLeast(0.9) : nil
      )
    }
  }

  /// Watches the run's record, which every batch brings up to date.
  private func rates(_ database: BenchDatabase, _ count: Int) throws -> (first: Double, last: Double) {
    let watcher = try database.connect()
    defer { watcher.close() }
    let (cleanup, connection) = (database.variant.cleanup, database.connection)
    let outcome = Background { for statement in cleanup { try connection.execute(statement) } }
    var progress: [(at: ContinuousClock.Instant, rows: Int)] = [(.now, 0)]
    while !outcome.isFinished {
      let row = try watcher.query("SELECT deleted_packages AS n FROM jam_cleanup_runs ORDER BY id DESC LIMIT 1").first
      if let rows = try row?.int("n"), rows > progress.last?.rows ?? 0 { progress.append((.now, rows)) }
      usleep(5_000)
    }
    try outcome.wait()
    func rate(from start: Int, to end: Int) -> Double {
      let part = progress.filter { $0.rows >= start && $0.rows <= end }
      guard let first = part.first, let last = part.last, last.rows > first.rows else { return .nan }
      return Double(last.rows - first.rows) / (last.at - first.at).seconds
    }
    return (rate(from: 1, to: count / 10), rate(from: count - count / 10, to: count))
  }
}
