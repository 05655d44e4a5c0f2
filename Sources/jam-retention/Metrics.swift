import ArgumentParser
import RetentionRunner

struct Metrics: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Print the metrics in Prometheus' text format.")
  @OptionGroup var options: DatabaseOptions

  func run() throws {
    print(try options.database().metrics(), terminator: "")
  }
}
