import ArgumentParser
import RetentionRunner

struct Metrics: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Print the metrics in Prometheus' text format.")
  @OptionGroup var options: DatabaseOptions

  @Option(help: "Write them to this file, whole or not at all, for node_exporter's textfile collector.")
  var output: String?

  func run() throws {
    let text = try options.session().database().metrics()
    guard let output else { return print(text, terminator: "") }
    try AtomicFile.write(text, to: output)
  }
}
