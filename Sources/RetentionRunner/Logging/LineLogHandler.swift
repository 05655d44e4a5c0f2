import Foundation
import Logging

/// Writes each event as one line. The message is the event's name; what varies stands in the metadata.
public struct LineLogHandler: LogHandler {
  /// Goes with every event.
  public var metadata: Logger.Metadata = [:]
  /// Adds to the metadata of each event.
  public var metadataProvider: Logger.MetadataProvider?
  /// Less severe events are dropped.
  public var logLevel: Logger.Level
  private let format: LogFormat
  private let write: @Sendable (String) -> Void

  /// - Parameter write: takes each line with its end; by default it goes to standard error.
  public init(
    format: LogFormat,
    level: Logger.Level,
    write: @escaping @Sendable (String) -> Void = StandardError.write
  ) {
    self.format = format
    self.write = write
    logLevel = level
  }

  /// A value of the metadata that goes with every event.
  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  /// Writes one event.
  public func log(event: LogEvent) {
    var all = metadata
    if let metadataProvider { all.merge(metadataProvider.get()) { $1 } }
    if let own = event.metadata { all.merge(own) { $1 } }
    if let error = event.error { all["error"] = "\(error)" }
    let time = Date.now.formatted(.iso8601.year().month().day().time(includingFractionalSeconds: true))
    write(format.line(timestamp: time + "Z", level: event.level, event: "\(event.message)", metadata: all) + "\n")
  }
}
