import ArgumentParser
import EmbeddedPostgres
import Foundation
import Postgres
import RetentionRunner

/// Measures the retention side by side with what a user would do instead, on a throw-away server.
@main
struct Benchmarks: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure the retention beside its alternatives, as ratios from one run on one server.",
    discussion: "Writes results.md, results.json and results.svg. Measurements:\n"
      + Measurements.all.map { "  \($0.name): \($0.title)" }.joined(separator: "\n")
  )

  @Flag(help: "A few minutes: fewer rounds, less data; what needs more data for its target is not judged.")
  var quick = false

  @Option(help: "The folder of the results.")
  var output = ".build/benchmarks"

  @Option(parsing: .upToNextOption, help: "Only these measurements.")
  var only: [String] = []

  @Option(help: "How often everything is measured; the results are medians.")
  var rounds: Int?

  @Option(parsing: .upToNextOption, help: "Live packages of the cleanups, fewest first; instead of the form's.")
  var live: [Int] = []

  @Option(parsing: .upToNextOption, help: "Expired packages of the cleanups; instead of the form's.")
  var expired: [Int] = []

  func validate() throws {
    let names = Measurements.all.map(\.name)
    guard let unknown = only.first(where: { !names.contains($0) }) else { return }
    throw ValidationError("no measurement is named \(unknown); there are: \(names.joined(separator: ", "))")
  }

  func run() throws {
    var scale = quick ? Scale.quick : .full
    if let rounds { scale.rounds = rounds }
    if !live.isEmpty { scale.live = live }
    if !expired.isEmpty { scale.expired = expired }
    let bench = try Bench(scale: scale)
    defer { bench.stop() }
    var report = Report(surroundings: try bench.surroundings())
    for measurement in Measurements.all where only.isEmpty || only.contains(measurement.name) {
      Self.tell("\(measurement.name): \(measurement.title)")
      report.lines += try measurement.run(bench)
      // After each one: what an hour has measured survives a failure in the next minute.
      try report.write(to: output)
    }
    print(report.markdown)
    Self.tell("results are in \(output)")
  }

  private static func tell(_ text: String) {
    FileHandle.standardError.write(Data("\(text)\n".utf8))
  }
}
