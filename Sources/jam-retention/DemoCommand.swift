import ArgumentParser
import Logging
import RetentionRunner

struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "The main job on a throw-away server: adopt, preview, clean, verify."
  )

  func run() throws {
    var logger = Logger(label: "jam-retention") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = .warning
    try Demo(logger: logger) { print($0) }.run()
  }
}
