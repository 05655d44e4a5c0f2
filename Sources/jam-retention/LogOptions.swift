import ArgumentParser
import Logging
import RetentionRunner

/// What is logged to standard error, and how.
struct LogOptions: ParsableArguments {
  @Option(help: "How log lines look.")
  var logFormat = LogFormat.text

  @Option(help: "Less severe events are not logged.")
  var logLevel = Logger.Level.info

  func logger() -> Logger {
    Logger(label: "jam-retention") { _ in LineLogHandler(format: logFormat, level: logLevel) }
  }
}

extension LogFormat: ExpressibleByArgument {}
extension Logger.Level: @retroactive ExpressibleByArgument {}
