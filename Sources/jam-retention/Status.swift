import ArgumentParser
import RetentionRunner

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "The last runs, the newest first.")
  @OptionGroup var options: DatabaseOptions

  func run() throws {
    let runs = try options.database().lastRuns()
    try options.show(runs.columns, runs.rows)
  }
}
