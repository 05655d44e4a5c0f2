/// What happens to every package: its status changes, its references do not.
struct StatusUpdate: Measurement {
  let name = "status-update"
  let title = "the status of a package, no reference touched"

  private static let packages = 50_000

  func run(_ bench: Bench) throws -> [Line] {
    let script = """
      \\set n random(1, \(Self.packages))
      UPDATE jam_work_packages SET status = 'processed' WHERE id = md5('package :n')::uuid;

      """
    return try Submit.lines(
      bench,
      Comparison(
        measurement: name,
        what: "\(title), \(Submit.clients) clients",
        unit: .perSecond,
        reference: .none,
        targets: [.immediate: .atLeast(0.97), .deferred: .atLeast(0.97)]
      ),
      script: script,
      clients: Submit.clients,
      variants: [.none, .immediate, .deferred],
      reset: { database in
        try database.reset()
        try database.load(
          """
          INSERT INTO jam_work_packages (id, service_id, preimage_hashes)
          SELECT md5('package ' || n)::uuid, \(Dataset.service), ARRAY[\(literal: Dataset.hot)]
          FROM generate_series(1, \(Self.packages)) AS n
          """
        )
      }
    )
  }
}
