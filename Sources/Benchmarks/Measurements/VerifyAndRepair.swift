import SafeSQL

/// How long the law takes to check, and to restore.
struct VerifyAndRepair: Measurement {
  let name = "verify"
  let title = "verify and repair"

  func run(_ bench: Bench) throws -> [Line] {
    try bench.scale.references.flatMap { references -> [Line] in
      let template = try bench.template("blobs", Dataset.blobs)
      let database = try bench.database(.immediate, copyOf: template)
      defer { try? bench.drop([database]) }
      try database.load(Dataset.packages(references / 4, hot: true))
      var figures: [(verify: Double, repair: Double)] = []
      for _ in 0..<bench.scale.rounds {
        let verify = try database.seconds(["SELECT count(*) FROM jam_verify_refcounts()"])
        // Every hundredth count is wrong.
        try database.execute([
          "SET session_replication_role = replica",
          "UPDATE jam_preimages SET refcount = refcount + 1 WHERE hash LIKE '%00'",
          "RESET session_replication_role", "VACUUM (ANALYZE) jam_preimages",
        ])
        figures.append((verify, try database.seconds(["SELECT jam_repair_refcounts()"])))
      }
      func line(_ what: String, _ values: [Double]) -> Line {
        Line(
          measurement: name,
          what: "\(what) of \(references) references",
          variant: .immediate,
          unit: .seconds,
          values: Spread(values: values)
        )
      }
      return [line("verification", figures.map(\.verify)), line("repair", figures.map(\.repair))]
    }
  }
}
