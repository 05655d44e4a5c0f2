import Foundation
import Logging
import RetentionRunner

/// The line on standard error with which a command ends that did not do what it should: an event where the log is JSON.
enum LastLine {
  /// The subcommand and its first arguments, as they were given.
  static var command: String {
    CommandLine.arguments.dropFirst().prefix { !$0.hasPrefix("-") }.joined(separator: " ")
  }

  /// Writes it.
  ///
  /// - Parameters:
  ///   - text: for people.
  ///   - event: what a log calls it.
  ///   - metadata: goes with the event.
  static func write(
    _ text: @autoclosure () -> String,
    event: Logger.Message,
    _ level: Logger.Level,
    _ metadata: @autoclosure () -> Logger.Metadata
  ) {
    guard isJSON(CommandLine.arguments) else {
      return FileHandle.standardError.write(Data("\(text())\n".utf8))
    }
    let logger = Logger(label: "jam-retention") { _ in LineLogHandler(format: .json, level: level) }
    logger.log(level: level, event, metadata: metadata().merging(["command": "\(command)"]) { $1 })
  }

  /// Whether the arguments ask for it, read by themselves: what cannot be parsed has no options.
  private static func isJSON(_ arguments: [String]) -> Bool {
    let option = "--log-format"
    let options = arguments.prefix { $0 != "--" }
    let values = zip(options, options.dropFirst()).compactMap { name, value -> Substring? in
      if name == option { return value[...] }
      return value.hasPrefix("\(option)=") ? value.dropFirst(option.count + 1) : nil
    }
    return values.last.map(String.init) == LogFormat.json.rawValue
  }
}
