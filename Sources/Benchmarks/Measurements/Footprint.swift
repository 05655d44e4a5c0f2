import SafeSQL

/// What a submit and a deletion write.
struct Footprint: Measurement {
  let name = "footprint"
  let title = "log and dead rows of a submit and of a cleaned package"

  private static let submits = 4_000
  private static let expired = 20_000

  func run(_ bench: Bench) throws -> [Line] {
    let submits = try bench.rounds(bench.databasesForSubmits(Submit.variants)) { database in
      try database.reset()
      return try Self.written(database, for: Self.submits) {
        _ = try database.pgbench(Submit.script(hot: true), clients: 4, for: .transactions(Self.submits))
      }
    }
    let live = bench.scale.live[0]
    let cleanups = try Cleanup.withDatabases(bench, live: live, [.joins] + Variant.own) { databases in
      try bench.rounds(databases) { database in
        try database.load(Dataset.expired(Self.expired))
        return try Self.written(database, for: Self.expired) {
          try database.execute(database.variant.cleanup)
        }
      }
    }
    return lines("a submit", submits, reference: .none) + lines("a cleaned package", cleanups, reference: .joins)
  }

  private func lines(_ what: String, _ figures: [Variant: [(bytes: Double, dead: Double)]], reference: Variant)
    -> [Line]
  {
    Comparison(measurement: name, what: "log of \(what)", unit: .bytes, reference: reference)
      .lines(figures.mapValues { $0.map(\.bytes) })
      + Comparison(measurement: name, what: "dead rows of \(what)", unit: .count, reference: reference)
      .lines(figures.mapValues { $0.map(\.dead) })
  }

  /// Bytes of log and dead rows of each of so many. Page images are left out: a page has one in its first change after a
  /// checkpoint, so that how many there are depends on how often the server makes one. (PostgreSQL manual, "pg_walinspect")
  private static func written(
    _ database: BenchDatabase,
    for count: Int,
    _ body: () throws -> Void
  ) throws -> (bytes: Double, dead: Double) {
    try database.execute(["CREATE EXTENSION IF NOT EXISTS pg_walinspect"])
    let start = try database.connection.query("SELECT pg_current_wal_flush_lsn() AS at").first?.string("at") ?? ""
    let dead = try deadRows(database)
    try body()
    let log = try database.number(
      "SELECT sum(record_size)::float8 FROM pg_get_wal_stats(\(literal: start), pg_current_wal_flush_lsn())"
    )
    return (log / Double(count), (try deadRows(database) - dead) / Double(count))
  }

  /// Rows that were updated or deleted. A session that goes on reports what it did some time later, unless it is told to.
  private static func deadRows(_ database: BenchDatabase) throws -> Double {
    try database.execute(["SELECT pg_stat_force_next_flush()"])
    return try database.number("SELECT (sum(n_tup_upd) + sum(n_tup_del))::float8 FROM pg_stat_user_tables")
  }
}
