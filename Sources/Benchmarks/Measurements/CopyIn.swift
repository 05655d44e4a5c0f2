import SafeSQL

/// Many packages by `COPY`.
struct CopyIn: Measurement {
  let name = "copy"
  let title = "many packages by COPY"

  func run(_ bench: Bench) throws -> [Line] {
    // The server writes the file and reads it.
    let file: SQL = "\(literal: "\(bench.server.directory)/packages")"
    let databases = try bench.databasesForSubmits([.none] + Variant.own)
    try databases[0].execute([
      "CREATE TABLE copied (LIKE jam_work_packages INCLUDING DEFAULTS)",
      Dataset.packages(bench.scale.bulk, hot: true, into: "copied"),
      "COPY copied (id, service_id, preimage_hashes) TO \(file)", "DROP TABLE copied",
    ])
    let figures = try bench.rounds(databases) { database in
      try database.reset()
      return try database.seconds(["COPY jam_work_packages (id, service_id, preimage_hashes) FROM \(file)"])
    }
    return Comparison(
      measurement: name,
      what: "\(bench.scale.bulk) packages by COPY, hot key",
      unit: .seconds,
      reference: .none
    ).lines(figures)
  }
}
