import CLibPQ

extension PostgresError {
  /// The error that a result carries, or the connection's own if there is no result.
  init(result: OpaquePointer?, connection: OpaquePointer) {
    let isLost = PQstatus(connection) == CONNECTION_BAD
    guard let result, let message = DiagnosticField.message.value(in: result) else {
      let text = result.map { String(cString: PQresultErrorMessage($0)) } ?? String(cString: PQerrorMessage(connection))
      self.init(
        kind: isLost ? .connection : .server,
        message: text.trimmedMessage,
        sqlState: result.flatMap(DiagnosticField.sqlState.value(in:))
      )
      return
    }
    self.init(
      kind: isLost ? .connection : .server,
      message: message,
      sqlState: DiagnosticField.sqlState.value(in: result),
      detail: DiagnosticField.detail.value(in: result),
      hint: DiagnosticField.hint.value(in: result),
      position: DiagnosticField.position.value(in: result).flatMap { Int($0) },
      context: DiagnosticField.context.value(in: result),
      severity: DiagnosticField.severity.value(in: result)
    )
  }
}

extension String {
  /// libpq's text without the line ends that it closes each message with.
  var trimmedMessage: String {
    let lines = split(whereSeparator: \.isNewline).map { $0.trimmingPrefix(while: \.isWhitespace) }
    let text = lines.joined(separator: "\n")
    return text.isEmpty ? "libpq gave no reason" : text
  }
}
