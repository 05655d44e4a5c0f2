import ArgumentParser
import RetentionRunner

struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "The main job on a throw-away server: adopt, preview, clean, verify."
  )

  @OptionGroup var log: LogOptions

  func run() throws {
    try Demo(logger: log.logger()) { print($0) }.run()
  }
}
