import SafeSQL

/// Whether tables grow when as much comes as goes.
struct Churn: Measurement {
  let name = "churn"
  let title = "size of ledger, blobs and their indexes after many cycles of submits and cleanup, beside the first"

  private static let tables: [(what: String, size: SQL)] = [
    ("the ledger", "pg_table_size('jam_reference_ledger')"), ("the blobs", "pg_table_size('jam_preimages')"),
    ("the indexes of the blobs", "pg_indexes_size('jam_preimages')"),
    ("the indexes of the packages", "pg_indexes_size('jam_work_packages')"),
  ]

  func run(_ bench: Bench) throws -> [Line] {
    let (cycles, submits) = bench.scale.churn
    return try Variant.own.flatMap { variant -> [Line] in
      let database = try bench.database(variant, copyOf: bench.template("blobs", Dataset.blobs))
      // Everything has expired when it comes, so that the cleanup of each cycle takes what the cycle has brought.
      let script = Submit.script(hot: true, age: "31 days")
      var sizes: [[Double]] = []
      for _ in 0..<cycles {
        _ = try database.pgbench(script, clients: Submit.clients, for: .transactions(submits))
        try database.execute(variant.cleanup)
        // In place of autovacuum, which would come at some moment.
        try database.execute(["VACUUM"])
        sizes.append(try Self.tables.map { try database.number("SELECT \($0.size)::float8") })
      }
      try bench.drop([database])
      return Self.tables.enumerated().map { position, table in
        let (first, last) = (sizes.first?[position] ?? .nan, sizes.last?[position] ?? .nan)
        return Line(
          measurement: name,
          what: "\(table.what) after \(cycles) cycles of \(submits) submits and a cleanup",
          variant: variant,
          unit: .bytes,
          values: Spread(values: [last]),
          ratios: first > 0 ? Spread(values: [last / first]) : nil,
          reference: "after the first"
        )
      }
    }
  }
}
