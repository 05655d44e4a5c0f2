import CLibPQ
import Logging
import Synchronization

/// Hands the server's notices to a logger; libpq keeps a pointer to it, so it lives as long as the connection.
final class NoticeReceiver: Sendable {
  private let logger: Logger
  private let observer = Mutex<(@Sendable (Notice) -> Bool)?>(nil)

  init(logger: Logger) {
    self.logger = logger
  }

  /// Shows every notice to an observer before it is logged; those for which it returns true are not logged.
  func observe(_ observer: (@Sendable (Notice) -> Bool)?) {
    self.observer.withLock { $0 = observer }
  }

  /// Takes the place of libpq's own receiver, which prints to standard error.
  func receiveNotices(of connection: OpaquePointer) {
    PQsetNoticeReceiver(
      connection,
      { receiver, result in
        guard let receiver, let result else { return }
        Unmanaged<NoticeReceiver>.fromOpaque(receiver).takeUnretainedValue().log(result)
      },
      Unmanaged.passUnretained(self).toOpaque()
    )
  }

  private func log(_ notice: OpaquePointer) {
    let message =
      DiagnosticField.message.value(in: notice) ?? String(cString: PQresultErrorMessage(notice)).trimmedMessage
    let sqlState = DiagnosticField.sqlState.value(in: notice)
    if let observer = observer.withLock({ $0 }),
      observer(Notice(message: message, sqlState: sqlState, detail: DiagnosticField.detail.value(in: notice)))
    {
      return
    }
    // The detail may hold data and stays out, as in an error's description.
    var metadata: Logger.Metadata = [:]
    metadata["sqlstate"] = sqlState.map { "\($0)" }
    metadata["hint"] = DiagnosticField.hint.value(in: notice).map { "\($0)" }
    logger.log(level: Self.level(of: DiagnosticField.severity.value(in: notice)), "\(message)", metadata: metadata)
  }

  private static func level(of severity: String?) -> Logger.Level {
    switch severity {
    case "NOTICE": .notice
    case "INFO", "LOG": .info
    case "DEBUG": .debug
    default: .warning
    }
  }
}
