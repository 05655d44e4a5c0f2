import Logging
import Postgres

/// One path of the service's HTTP server. All are read-only.
struct HTTPRoute: Sendable {
  /// What is answered.
  struct Answer: Sendable {
    /// Whether all is well: 200, else 503.
    var isWell = true
    let text: String
  }

  let path: String
  let headers: [(name: String, value: String)]
  let answer: @Sendable () async throws -> Answer

  static let plainText = [(name: "Content-Type", value: "text/plain; charset=utf-8")]
  /// Source: Prometheus, "Exposition formats", text-based format.
  private static let prometheusText = [(name: "Content-Type", value: "text/plain; version=0.0.4; charset=utf-8")]

  /// The process answers.
  static let health = HTTPRoute(path: "/healthz", headers: plainText) { Answer(text: "ok\n") }

  static func metrics(_ connections: RequestConnections) -> HTTPRoute {
    HTTPRoute(path: "/metrics", headers: prometheusText) {
      Answer(text: try await connections.run { try $0.metrics() })
    }
  }

  /// - Parameter page: makes the page, for all who ask for it meanwhile.
  static func statusPage(
    _ connections: RequestConnections,
    _ page: @escaping @Sendable (RetentionDatabase) throws -> StatusPage
  ) -> HTTPRoute {
    let text = SharedAnswer { try await connections.run { try page($0).html.text } }
    return HTTPRoute(path: "/", headers: StatusPage.headers) { Answer(text: try await text.value()) }
  }

  /// - Parameter unreadiness: a line for each reason.
  static func readiness(
    _ connections: RequestConnections,
    _ unreadiness: @escaping @Sendable (RetentionDatabase) throws -> [String]
  ) -> HTTPRoute {
    HTTPRoute(path: "/readyz", headers: plainText) {
      let reasons = try await connections.run(unreadiness)
      return Answer(
        isWell: reasons.isEmpty,
        text: (reasons.isEmpty ? ["ready"] : reasons).joined(separator: "\n") + "\n"
      )
    }
  }

  /// What a stranger may know of an error: the server's own words are for the log.
  static func reason(_ error: any Error) -> String {
    switch error {
    case RequestConnections.Refusal.tooManyRequests: "too many requests at once"
    case RequestConnections.Refusal.tookTooLong: "did not answer in time"
    case let error as PostgresError where error.kind == .connection: "cannot be reached"
    case let error as PostgresError: "a query failed, SQLSTATE \(error.sqlState ?? "unknown")"
    // It is written for whoever can act on it.
    case let error as RunnerError: "\(error)"
    default: "a query failed"
    }
  }

  /// How much an error matters to the log: that the database is away is told once, by who works with it.
  static func level(of error: any Error) -> Logger.Level {
    switch error {
    case is RequestConnections.Refusal: .debug
    case let error as PostgresError where error.kind == .connection: .debug
    default: .warning
    }
  }
}
