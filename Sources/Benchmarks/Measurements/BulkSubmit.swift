/// Many packages in one statement.
struct BulkSubmit: Measurement {
  let name = "bulk"
  let title = "many packages in one statement"

  private static let targets: [Variant: Target] = [.immediate: .atMost(2.5), .deferred: .atMost(1.25)]

  func run(_ bench: Bench) throws -> [Line] {
    let (all, few) = (bench.scale.bulk, bench.scale.bulkByRows)
    return try seconds(bench, all, hot: false, [.none] + Variant.own, reference: .none, Self.targets)
      + seconds(bench, all, hot: true, [.none] + Variant.own, reference: .none, Self.targets)
      // Against what one writes first; its time grows with the square of the packages.
      + againstRows(bench, few, isJudged: few == all)
  }

  private func seconds(
    _ bench: Bench,
    _ count: Int,
    hot isHot: Bool,
    _ variants: [Variant],
    reference: Variant,
    _ targets: [Variant: Target]
  ) throws -> [Line] {
    let figures = try bench.rounds(bench.databasesForSubmits(variants)) { database in
      try database.reset()
      return try database.seconds([Dataset.packages(count, hot: isHot)])
    }
    return Comparison(
      measurement: name,
      what: "\(count) packages in one statement\(isHot ? ", hot key" : "")",
      unit: .seconds,
      reference: reference,
      targets: targets
    ).lines(figures)
  }

  private func againstRows(_ bench: Bench, _ count: Int, isJudged: Bool) throws -> [Line] {
    let figures = try bench.rounds(bench.databasesForSubmits([.rows] + Variant.own), count: 1) { database in
      try database.reset()
      return try database.seconds([Dataset.packages(count, hot: true)])
    }
    return Comparison(
      measurement: name,
      what: "\(count) packages in one statement, hot key, beside row-level triggers",
      unit: .seconds,
      reference: .rows,
      targets: isJudged ? [.immediate: .atMost(1 / 200), .deferred: .atMost(1 / 200)] : [:]
    ).lines(figures)
  }
}
