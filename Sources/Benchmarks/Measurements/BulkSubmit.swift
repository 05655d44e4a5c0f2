/// Many packages in one statement.
struct BulkSubmit: Measurement {
  let name = "bulk"
  let title = "many packages in one statement"

  private static let targets: [Variant: Target] = [.immediate: .atMost(2.5), .deferred: .atMost(1.25)]

  func run(_ bench: Bench) throws -> [Line] {
    try [false, true].flatMap { try seconds(bench, hot: $0) }
  }

  private func seconds(_ bench: Bench, hot isHot: Bool) throws -> [Line] {
    let count = bench.scale.bulk
    let figures = try bench.rounds(bench.databasesForSubmits([.none] + Variant.own)) { database in
      try database.reset()
      return try database.seconds([Dataset.packages(count, hot: isHot)])
    }
    return Comparison(
      measurement: name,
      what: "\(count) packages in one statement\(isHot ? ", hot key" : "")",
      unit: .seconds,
      reference: .none,
      targets: Self.targets
    ).lines(figures)
  }
}

/// The same beside row-level triggers, whose time grows with the square of the packages: one round.
struct BulkSubmitBesideRows: Measurement {
  let name = "bulk-rows"
  let title = "many packages in one statement beside row-level triggers, one round"

  func run(_ bench: Bench) throws -> [Line] {
    let count = bench.scale.bulkByRows
    let figures = try bench.rounds(bench.databasesForSubmits([.rows] + Variant.own), count: 1) { database in
      try database.reset()
      return try database.seconds([Dataset.packages(count, hot: true)])
    }
    return Comparison(
      measurement: name,
      what: "\(count) packages in one statement, hot key, beside row-level triggers",
      unit: .seconds,
      reference: .rows,
      targets: count == bench.scale.bulk ? [.immediate: .atMost(1 / 200), .deferred: .atMost(1 / 200)] : [:]
    ).lines(figures)
  }
}
