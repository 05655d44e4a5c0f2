import Foundation
import Logging
import RetentionRunner

/// The line on standard error with which a command ends that did not do what it should: an event where the log is JSON.
enum LastLine {
  /// The subcommand and its first arguments, as they were given.
  static var command: String {
    CommandLine.arguments.dropFirst().prefix { !$0.hasPrefix("-") }.joined(separator: " ")
  }

  /// Writes it, without what the arguments hold of a connection string: whatever complains about an argument repeats it.
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
    let arguments = CommandLine.arguments
    guard isJSON(arguments) else {
      return StandardError.write("\(redacted(text(), arguments))\n")
    }
    let logger = Logger(label: "jam-retention") { _ in LineLogHandler(format: .json, level: level) }
    let metadata = metadata().merging(["command": "\(command)"]) { $1 }
    logger.log(level: level, event, metadata: metadata.mapValues { "\(redacted("\($0)", arguments))" })
  }

  /// The text without those arguments, and values of options, in which a password may be.
  private static func redacted(_ text: String, _ arguments: [String]) -> String {
    // Of an option, the value alone where that is enough.
    let values = arguments.flatMap { $0.hasPrefix("-") ? [String($0.drop { $0 != "=" }.dropFirst()), $0] : [$0] }
    let mayBeSecret = #/(?i)password\s*=|://.*@/#
    return values.filter { $0.contains(mayBeSecret) }.reduce(text) { $0.replacing($1, with: "[redacted]") }
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
