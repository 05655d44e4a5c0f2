import Foundation
import Synchronization

/// What a submit notices of a cleanup.
struct SubmitDuringCleanup: Measurement {
  let name = "submit-during-cleanup"
  let title = "submits while a cleanup runs, beside submits alone"

  func run(_ bench: Bench) throws -> [Line] {
    let (live, expired) = (bench.scale.live[0], bench.scale.expired[bench.scale.expired.count - 1])
    let script = Submit.script(hot: true)
    let figures = try Cleanup.withDatabases(bench, live: live, Variant.own) { databases in
      try bench.rounds(databases) { database in
        try database.load(Dataset.expired(expired))
        let alone = try database.pgbench(script, clients: Submit.clients, for: .seconds(bench.scale.seconds))
        let (cleanup, connection) = (database.variant.cleanup, database.connection)
        let run = Background { for statement in cleanup { try connection.execute(statement) } }
        let during = try database.pgbench(script, clients: Submit.clients, for: .seconds(bench.scale.seconds))
        try run.wait()
        return (alone: alone, during: during)
      }
    }
    return Variant.own.flatMap { variant -> [Line] in
      let rounds = figures[variant] ?? []
      let alone = Spread(values: rounds.map { $0.alone.percentile(0.99) })
      let during = Spread(values: rounds.map { $0.during.percentile(0.99) })
      let what = "\(Submit.clients) clients, during a cleanup of \(expired) packages"
      return [
        Line(
          measurement: name,
          what: "p99 of a submit, \(what)",
          variant: variant,
          unit: .milliseconds,
          values: during,
          ratios: during / alone,
          reference: "without",
          target: .atMost(1.5)
        ),
        Line(
          measurement: name,
          what: "longest submit, \(what)",
          variant: variant,
          unit: .milliseconds,
          values: Spread(values: rounds.map { $0.during.percentile(1) }),
          target: .atMost(100),
          note: "alone \(Report.text(Spread(values: rounds.map { $0.alone.percentile(1) }).median)) ms"
        ),
      ]
    }
  }
}
