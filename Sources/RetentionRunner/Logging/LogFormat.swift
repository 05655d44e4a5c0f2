/// How a log line looks.
public enum LogFormat: String, CaseIterable, Sendable {
  /// `2026-11-24T07:00:00.000Z info cleanup run_id=7 status=completed`
  case text
  /// One object a line: timestamp, level, event, and the metadata beside them.
  case json
}
