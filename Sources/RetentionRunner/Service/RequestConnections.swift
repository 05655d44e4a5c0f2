import Foundation
import Postgres
import Synchronization

/// Sessions for requests, so few that many requests at once cannot take the server's connections away, and a time in which
/// each request has its answer. libpq's calls block, so they run in threads of their own.
final class RequestConnections: Sendable {
  /// Why a request has no answer, though the database may be well.
  enum Refusal: Error {
    case tooManyRequests
    case tookTooLong
  }

  private static let maximumRequests = 32
  /// Longer than a statement may take.
  private static let patience: DispatchTimeInterval = .seconds(10)

  private let open: @Sendable () throws -> RetentionDatabase
  private let idle = Mutex<[RetentionDatabase]>([])
  private let queue: OperationQueue

  /// - Parameter sessions: at most so many.
  init(sessions: Int, open: @escaping @Sendable () throws -> RetentionDatabase) {
    self.open = open
    queue = OperationQueue()
    queue.maxConcurrentOperationCount = sessions
  }

  /// Runs the body in one of the sessions and returns what it returns.
  func run<Value: Sendable>(_ body: @escaping @Sendable (RetentionDatabase) throws -> Value) async throws -> Value {
    guard queue.operationCount < Self.maximumRequests else { throw Refusal.tooManyRequests }
    let answer = FirstAnswer<Value>()
    queue.addOperation { [self] in
      // Nobody waits for it any more.
      guard !answer.isGiven else { return }
      answer.give(Result { try inSession(body) })
    }
    DispatchQueue.global().asyncAfter(deadline: .now() + Self.patience) {
      answer.give(.failure(Refusal.tookTooLong))
    }
    return try await answer.value()
  }

  private func inSession<Value>(_ body: (RetentionDatabase) throws -> Value) throws -> Value {
    while let session = idle.withLock({ $0.popLast() }) {
      do {
        return try using(session, body)
      } catch let error as PostgresError where error.kind == .connection {
        // The server may have been restarted since the last request.
        session.connection.close()
      }
    }
    return try using(try open(), body)
  }

  /// A session that has failed is not used again.
  private func using<Value>(_ session: RetentionDatabase, _ body: (RetentionDatabase) throws -> Value) throws -> Value {
    let value: Value
    do {
      value = try body(session)
    } catch {
      if (error as? PostgresError)?.kind != .connection { idle.withLock { $0.append(session) } }
      throw error
    }
    idle.withLock { $0.append(session) }
    return value
  }
}
