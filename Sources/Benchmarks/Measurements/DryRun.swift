/// The dry run beside the real one on the same data.
struct DryRun: Measurement {
  let name = "dry-run"
  let title = "the dry run beside the real run"

  func run(_ bench: Bench) throws -> [Line] {
    let (live, expired) = (bench.scale.live[0], bench.scale.expired[0])
    let figures = try Cleanup.withDatabases(bench, live: live, Variant.own) { databases in
      try bench.rounds(databases) { database in
        try database.load(Dataset.expired(expired))
        let dry = try database.seconds(["CALL jam_cleanup(\(Dataset.cutoff), true)"])
        return (dry: dry, real: try database.seconds(database.variant.cleanup))
      }
    }
    return Variant.own.map { variant in
      let (dry, real) = (figures[variant]?.map(\.dry) ?? [], figures[variant]?.map(\.real) ?? [])
      return Line(
        measurement: name,
        what: "dry run, \(expired) packages expired, \(live) live",
        variant: variant,
        unit: .seconds,
        values: Spread(values: dry),
        ratios: Spread(values: dry) / Spread(values: real),
        reference: "the real run",
        target: .atMost(0.3)
      )
    }
  }
}
