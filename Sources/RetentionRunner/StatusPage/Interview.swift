import Postgres
import SafeSQL

/// Questions to one snapshot of an installation, in a read-only transaction, each in its own time and all in the time for
/// all.
///
/// The server keeps the time: every statement has what is left as its `statement_timeout`.
final class Interview {
  /// There is no time left for a statement.
  struct TimeIsOver: Error {}

  /// A statement has no less, so that the server has time to begin it.
  private static let shortest: Duration = .milliseconds(250)

  private let database: RetentionDatabase
  private let patience: Duration
  private let end: ContinuousClock.Instant?
  /// When the time of the present question is over.
  private var questionEnd = ContinuousClock.now
  /// Milliseconds that the session itself allows a statement.
  private let limit: Int

  private var connection: Connection { database.connection }

  /// Begins, in a transaction that has not asked anything yet.
  ///
  /// - Parameters:
  ///   - patience: how long one question may take.
  ///   - budget: how long all of them may take; nil: as long as it takes.
  init(_ database: RetentionDatabase, patience: Duration, budget: Duration?) throws {
    self.database = database
    self.patience = patience
    end = budget.map { ContinuousClock.now + $0 }
    let connection = database.connection
    try connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    // To compile a statement takes longer than most of these; times within texts are in the page's own zone.
    try connection.execute("SET LOCAL jit = off; SET LOCAL timezone = 'UTC'")
    limit =
      try connection.query(
        "SELECT nullif(s.setting::bigint, 0) AS milliseconds FROM pg_settings AS s WHERE s.name = 'statement_timeout'"
      ).first?.optionalInt("milliseconds") ?? .max
  }

  /// What a question gives that asks its statements through ``ask(_:)``.
  ///
  /// - Parameter isEssential: whether there is nothing to tell where the database is not installed, or lets nobody read.
  func answer<Value>(isEssential: Bool = false, _ question: () throws -> Value) throws -> StatusReport.Answer<Value> {
    questionEnd = .now + patience
    // The transaction outlives a question that fails.
    try connection.execute("SAVEPOINT jam_question")
    let answer: StatusReport.Answer<Value>
    do {
      answer = .found(try database.installed(question))
    } catch let error as RunnerError where isEssential {
      throw error
    } catch {
      guard let failure = StatusReport.Answer<Value>(error) else { throw error }
      answer = failure
    }
    // Only the limit of the last statement is undone. After an interruption this fails, too, and so does the report.
    try connection.execute("ROLLBACK TO SAVEPOINT jam_question; RELEASE SAVEPOINT jam_question")
    return answer
  }

  /// Asks one statement, as ``ask(_:)`` does.
  func query(_ sql: SQL, _ parameters: (any Sendable & ParameterConvertible)?...) throws -> QueryResult {
    try ask { try connection.query(sql, parameters: parameters) }
  }

  /// Asks one statement, which has the time that is left.
  func ask<Value>(_ statement: () throws -> Value) throws -> Value {
    let left = min(questionEnd, end ?? questionEnd) - .now
    guard left > .zero else { throw TimeIsOver() }
    let milliseconds = min(limit, max(1, Int(min(patience, max(left, Self.shortest)) / .milliseconds(1))))
    _ = try connection.query("SELECT set_config('statement_timeout', $1, true)", "\(milliseconds)")
    return try statement()
  }
}
