import SafeSQL

/// A package of four hashes, a transaction each, from many clients.
struct Submit: Measurement {
  static let uniform = Submit(
    name: "submit",
    title: "a package of four blobs, uniform keys",
    targets: [.immediate: .atLeast(0.55), .deferred: .atLeast(0.88)],
    isHot: false,
    milliseconds: 0
  )
  static let hot = Submit(
    name: "submit-hot",
    title: "a package of four blobs, one of them everybody's",
    targets: [.immediate: .atLeast(0.55), .deferred: .atLeast(0.88)],
    isHot: true,
    milliseconds: 0
  )
  static let hotWithClientTime = Submit(
    name: "submit-hot-slow",
    title: "the same with 2 ms of client time inside the transaction",
    targets: [.immediate: .atLeast(0.8), .deferred: .atLeast(0.97)],
    isHot: true,
    milliseconds: 2
  )

  static let clients = 16
  /// A hot key makes row-level triggers wait for each other.
  static let variants: [Variant] = [.none, .rows, .immediate, .deferred]

  let name: String
  let title: String
  let targets: [Variant: Target]
  let isHot: Bool
  /// How long the client thinks before it commits.
  let milliseconds: Int

  func run(_ bench: Bench) throws -> [Line] {
    try Self.lines(
      bench,
      Comparison(
        measurement: name,
        what: "\(title), \(Self.clients) clients",
        unit: .perSecond,
        reference: .none,
        targets: targets
      ),
      script: Self.script(hot: isHot, milliseconds: milliseconds),
      clients: Self.clients,
      variants: Self.variants
    )
  }

  /// Transactions per second of a script, with their latencies.
  static func lines(
    _ bench: Bench,
    _ comparison: Comparison,
    script: String,
    clients: Int,
    variants: [Variant],
    reset: (BenchDatabase) throws -> Void = { try $0.reset() }
  ) throws -> [Line] {
    let results = try bench.rounds(bench.databasesForSubmits(variants)) { database in
      try reset(database)
      return try database.pgbench(script, clients: clients, for: .seconds(bench.scale.seconds))
    }
    return comparison.lines(
      results.mapValues { $0.map(\.transactionsPerSecond) },
      notes: results.mapValues { rounds in
        let (middle, high) = (rounds.map { $0.percentile(0.5) }, rounds.map { $0.percentile(0.99) })
        return
          "p50 \(Report.text(Spread(values: middle).median)) ms, p99 \(Report.text(Spread(values: high).median)) ms"
      }
    )
  }

  static func script(hot isHot: Bool, milliseconds: Int = 0, age: String = "0 days") -> String {
    let names = isHot ? ["a", "b", "c"] : ["a", "b", "c", "d"]
    let blobs = names.map { "\(Dataset.shared):\($0)" } + (isHot ? [Dataset.hot] : [])
    let insert = """
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes, created_at)
        VALUES (gen_random_uuid(), \(Dataset.service.text), '{\(blobs.joined(separator: ","))}', now() - interval '\(age)');
      """
    return
      (names.map(random)
      + (milliseconds == 0 ? [insert] : ["BEGIN;", insert, "\\sleep \(milliseconds) ms", "COMMIT;"]))
      .joined(separator: "\n") + "\n"
  }

  /// A variable of `pgbench` with the number of a shared blob.
  static func random(_ name: String) -> String {
    "\\set \(name) random(\(Dataset.first), \(Dataset.first + Dataset.pool - 1))"
  }
}
