import Logging
import Synchronization

/// Keeps what is logged.
final class Recording: Sendable {
  private let entries = Mutex<[(Logger.Level, String)]>([])

  func add(_ level: Logger.Level, _ message: String) { entries.withLock { $0.append((level, message)) } }

  var lines: [String] { entries.withLock { $0.map { "\($0.0): \($0.1)" } } }
}

/// A log handler for tests of what reaches a log.
struct RecordingLogHandler: LogHandler {
  let recording: Recording
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.trace

  init(_ recording: Recording) { self.recording = recording }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) { recording.add(event.level, "\(event.message)") }
}
