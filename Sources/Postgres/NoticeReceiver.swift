import CLibPQ
import Logging

/// Hands the server's notices to a logger; libpq keeps a pointer to it, so it lives as long as the connection.
final class NoticeReceiver: Sendable {
  private let logger: Logger

  init(logger: Logger) {
    self.logger = logger
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
    // The detail may hold data and stays out, as in an error's description.
    var metadata: Logger.Metadata = [:]
    metadata["sqlstate"] = DiagnosticField.sqlState.value(in: notice).map { "\($0)" }
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
