import Foundation
import Synchronization

/// `migrate up` on a database with data, and how long its writers wait meanwhile.
struct Adoption: Measurement {
  let name = "adoption"
  let title = "migrate up with backfill, and the longest wait of a writer meanwhile"

  func run(_ bench: Bench) throws -> [Line] {
    let count = bench.scale.adopted
    let template = try bench.template("adopted", "\(Dataset.blobs) \(Dataset.packages(count, hot: true))")
    defer { try? bench.drop(template: template) }
    return try Variant.own.flatMap { variant -> [Line] in
      let figures = try (0..<bench.scale.rounds).map { _ -> (seconds: Double, wait: Double) in
        let database = try bench.database(.none, copyOf: template)
        defer { try? bench.drop([database]) }
        return try adopt(database, as: variant)
      }
      func line(_ what: String, _ unit: Line.Unit, _ values: [Double]) -> Line {
        Line(
          measurement: name,
          what: "\(what) \(count) packages",
          variant: variant,
          unit: unit,
          values: Spread(values: values)
        )
      }
      return [
        line("adoption of", .seconds, figures.map(\.seconds)),
        line("longest submit during the adoption of", .milliseconds, figures.map(\.wait)),
      ]
    }
  }

  private func adopt(_ database: BenchDatabase, as variant: Variant) throws -> (seconds: Double, wait: Double) {
    let writer = try database.connect()
    defer { writer.close() }
    let isAdopted = Atomic(false)
    let longest = Mutex(0.0)
    let writing = Background {
      while !isAdopted.load(ordering: .relaxed) {
        let start = ContinuousClock.now
        try writer.execute(Dataset.packages(1, hot: true))
        let seconds = (ContinuousClock.now - start).seconds
        longest.withLock { $0 = max($0, seconds) }
      }
    }
    let start = ContinuousClock.now
    let migration = Result { try database.migrate(to: variant) }
    let seconds = (ContinuousClock.now - start).seconds
    isAdopted.store(true, ordering: .relaxed)
    try writing.wait()
    try migration.get()
    return (seconds, longest.withLock { $0 } * 1000)
  }
}
