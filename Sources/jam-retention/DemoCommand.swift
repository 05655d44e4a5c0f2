import ArgumentParser
import Logging
import RetentionRunner

struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "The main job on a throw-away server: adopt, preview, clean, verify, and move blobs into an object store."
  )

  @Option(help: "The object store, which is thrown away, too.")
  var store = Demo.Store.directory

  func run() throws {
    let logger = Logger(label: "jam-retention") { _ in LineLogHandler(format: .text, level: .warning) }
    let demo = Demo(store: store, logger: logger) { print($0) }
    try Interruption.awaiting { try await demo.run() }
  }
}

extension Demo.Store: ExpressibleByArgument {}
