import Postgres

extension StatusReport {
  /// What a question gave.
  enum Answer<Value: Sendable>: Sendable {
    case found(Value)
    /// The server gave the question up, or there was no time left to ask it.
    case tookTooLong
    /// The server refused it, or what it answered makes no sense; why, without what rows hold.
    case failed(reason: String)

    var value: Value? {
      switch self {
      case .found(let value): value
      case .tookTooLong, .failed: nil
      }
    }

    /// What an error means for the question alone; nil: no other question would be answered either.
    init?(_ error: any Error) {
      switch error {
      case is Interview.TimeIsOver: self = .tookTooLong
      case let error as PostgresError where error.kind == .connection: return nil
      case let error as PostgresError where error.kind == .server:
        switch error.sqlState {
        case "57014": self = .tookTooLong
        case "55P03": self = .failed(reason: "another session holds a lock that it needs (SQLSTATE 55P03)")
        // The server's own words may hold anything.
        case let state: self = .failed(reason: "the query failed (SQLSTATE \(state ?? "unknown"))")
        }
      default: self = .failed(reason: "\(error)")
      }
    }
  }
}
