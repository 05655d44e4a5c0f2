import RetentionRunner

/// Expired packages with all that belongs to them, while others stay.
struct Cleanup: Measurement {
  let name = "cleanup"
  let title = "expired packages with items, reports, attestations and blobs, while others stay"

  func run(_ bench: Bench) throws -> [Line] {
    var own: [Variant: Spread] = [:]
    var lines: [Line] = []
    for live in bench.scale.live {
      for (position, expired) in bench.scale.expired.enumerated() {
        let isFirst = live == bench.scale.live.first && position == 0
        let found = try Self.withDatabases(bench, live: live, [.joins] + Variant.own) { databases in
          try bench.rounds(databases) { try Self.seconds($0, live: live, expired: expired) }
        }
        lines += Comparison(
          measurement: name,
          what: "cleanup of \(expired) packages, \(live) live",
          unit: .seconds,
          reference: .joins,
          targets: position > 0 ? [:] : Self.targets(live: live)
        ).lines(found)
        if isFirst { own = found.mapValues(Spread.init) }
        if live >= 10_000_000, position == 0 { lines += growth(found, against: own, live, bench.scale.live[0]) }
      }
    }
    return lines
  }

  /// A few tables with all those rows take minutes to make, so they are made only as long as they are used.
  static func withDatabases<Result>(
    _ bench: Bench,
    live: Int,
    _ variants: [Variant],
    _ body: ([BenchDatabase]) throws -> Result
  ) throws -> Result {
    let template = try bench.template("live_\(live)", "\(Dataset.blobs) \(Dataset.live(live))")
    let databases = try variants.map { try bench.database($0, copyOf: template) }
    let result = try body(databases)
    try bench.drop(databases)
    return result
  }

  /// Adds the expired packages and measures how long it takes to delete them again.
  static func seconds(_ database: BenchDatabase, live: Int, expired: Int) throws -> Double {
    try database.load(Dataset.expired(expired))
    try database.execute(["CHECKPOINT"])
    let seconds = try database.seconds(database.variant.cleanup)
    let left = try database.number("SELECT count(*)::float8 FROM jam_work_packages")
    let blobs = try database.number(
      "SELECT count(*)::float8 FROM jam_preimages WHERE created_at < now() - interval '30 days'"
    )
    guard left == Double(live), blobs == 0 else {
      throw RunnerError(
        "\(database.variant.rawValue) has left \(left) packages and \(blobs) old blobs, not \(live) and 0"
      )
    }
    return seconds
  }

  private static func targets(live: Int) -> [Variant: Target] {
    switch live {
    case 200_000: [.immediate: .atMost(1), .deferred: .atMost(1)]
    case 10_000_000: [.immediate: .atMost(0.1), .deferred: .atMost(0.1)]
    default: [:]
    }
  }

  private func growth(_ found: [Variant: [Double]], against first: [Variant: Spread], _ live: Int, _ few: Int) -> [Line]
  {
    Variant.own.map { variant in
      let values = Spread(values: found[variant] ?? [])
      return Line(
        measurement: name,
        what: "cleanup with \(live) packages live beside \(few)",
        variant: variant,
        unit: .seconds,
        values: values,
        ratios: values / (first[variant] ?? Spread(values: [])),
        reference: "itself, \(few) live",
        target: .atMost(1.1)
      )
    }
  }
}

/// The same beside row-level triggers, which take hundreds of times as long: one round.
struct CleanupBesideRows: Measurement {
  let name = "cleanup-rows"
  let title = "expired packages with all that belongs to them, hot key, beside row-level triggers, one round"

  func run(_ bench: Bench) throws -> [Line] {
    let (live, expired) = (bench.scale.live[0], bench.scale.expiredByRows)
    let figures = try Cleanup.withDatabases(bench, live: live, [.rows] + Variant.own) { databases in
      try bench.rounds(databases, count: 1) { try Cleanup.seconds($0, live: live, expired: expired) }
    }
    let isJudged = expired >= 20_000
    return Comparison(
      measurement: name,
      what: "cleanup of \(expired) packages, \(live) live, hot key, beside row-level triggers",
      unit: .seconds,
      reference: .rows,
      targets: isJudged ? [.immediate: .atMost(1 / 40), .deferred: .atMost(1 / 40)] : [:]
    ).lines(figures)
  }
}
