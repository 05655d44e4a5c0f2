import ArgumentParser
import RetentionRunner

struct Report: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write the status page as one file, for a browser.",
    discussion: "The page needs nothing from elsewhere. It is made read-only, on a standby too, and reads no blob."
  )
  @OptionGroup var options: Migrate.Options

  @Option(name: .shortAndLong, help: "The file, written whole or not at all; -: standard output.")
  var output: String

  @Option(help: "Seconds that one question may take; what takes longer is left out of the page.")
  var patience = 10.0

  @Flag(help: "Exit 3 when a health check fails.")
  var exitCode = false

  func validate() throws {
    guard patience > 0, patience <= 86400 else {
      throw ValidationError("--patience must be more than 0, at most 86400")
    }
  }

  func run() throws {
    let session = try options.database.session()
    let database = try session.database()
    let report = try StatusReporter(
      database: database,
      model: session.model,
      migrator: options.migrator(database, session),
      patience: .seconds(patience)
    ).report()
    let page = StatusPage(report).html.text
    if output == "-" {
      print(page, terminator: "")
    } else {
      try AtomicFile.write(page, to: output)
    }
    if exitCode, !report.isHealthy { throw ExitCode.findings }
  }
}
