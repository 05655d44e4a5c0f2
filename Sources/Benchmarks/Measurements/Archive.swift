import RetentionRunner

/// What it costs to be able to bring back what a cleanup deletes.
struct Archive: Measurement {
  let name = "archive"
  let title = "a cleanup with the archive on beside one with it off"

  func run(_ bench: Bench) throws -> [Line] {
    let (live, expired) = (bench.scale.live[0], bench.scale.expired[bench.scale.expired.count - 1])
    let figures = try Cleanup.withDatabases(bench, live: live, Variant.own) { databases in
      try bench.rounds(databases) { database in
        let off = try Cleanup.seconds(database, live: live, expired: expired)
        try database.execute(["UPDATE jam_retention_policy SET archive_days = 14"])
        let on = try Cleanup.seconds(database, live: live, expired: expired)
        let archived = try database.number("SELECT count(*)::float8 FROM jam_archived_packages")
        guard archived == Double(expired) else {
          throw RunnerError("\(archived) of \(expired) packages are in the archive")
        }
        // The next cleanup of the policy purges.
        try database.execute(["UPDATE jam_retention_policy SET archive_days = 0"] + database.variant.cleanup)
        return (off: off, on: on)
      }
    }
    return Variant.own.map { variant in
      let (off, on) = (figures[variant]?.map(\.off) ?? [], figures[variant]?.map(\.on) ?? [])
      return Line(
        measurement: name,
        what: "cleanup of \(expired) packages into the archive, \(live) live",
        variant: variant,
        unit: .seconds,
        values: Spread(values: on),
        ratios: Spread(values: on) / Spread(values: off),
        reference: "itself, archive off",
        target: .atMost(2)
      )
    }
  }
}
