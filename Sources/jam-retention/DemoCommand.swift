import ArgumentParser
import Logging
import RetentionRunner

struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "The main job on a throw-away server: adopt, preview, clean, verify."
  )

  func run() throws {
    let logger = Logger(label: "jam-retention") { _ in LineLogHandler(format: .text, level: .warning) }
    try Demo(logger: logger) { print($0) }.run()
  }
}
