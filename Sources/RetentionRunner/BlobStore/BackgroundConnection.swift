import Foundation
import NIOCore
import ObjectStore
import Postgres
import SafeSQL
import Synchronization

/// A connection for asynchronous code. Its calls block, so they run one after the other on a queue of their own.
final class BackgroundConnection: Sendable {
  /// How long a call that is given up may take to come back.
  private static let grace: DispatchTimeInterval = .seconds(5)

  private let connection: Connection
  private let queue = DispatchQueue(label: "jam-retention.connection")

  init(_ connection: Connection) {
    self.connection = connection
  }

  /// Opens a connection, which can take as long as libpq waits for a server that does not answer; a task that is cancelled
  /// does not wait for it.
  static func open(_ connect: @escaping @Sendable () throws -> Connection) async throws -> BackgroundConnection {
    let answer = FirstAnswer<BackgroundConnection>()
    DispatchQueue.global().async { answer.give(Result { BackgroundConnection(try connect()) }) }
    return try await withTaskCancellationHandler {
      try await answer.value()
    } onCancel: {
      answer.give(.failure(CancellationError()))
    }
  }

  deinit {
    // Behind a call that was given up and is not back yet.
    queue.async { [connection] in connection.close() }
  }

  /// Runs calls on the connection, and returns what they return. When the task is cancelled meanwhile, the server gives up
  /// the statement that runs. What a task runs that is cancelled already, so as to leave nothing half done, is not disturbed.
  @discardableResult
  func run<Value: Sendable>(_ body: @escaping @Sendable (Connection) throws -> Value) async throws -> Value {
    let cancellation = Task.isCancelled ? nil : StatementCancellation(connection)
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        queue.async { [connection] in continuation.resume(returning: Result { try body(connection) }) }
      }
    } onCancel: {
      cancellation?.begin()
    }
    await cancellation?.end()
    do {
      return try result.get()
    } catch let error as PostgresError where Task.isCancelled && error.sqlState == "57014" {
      throw CancellationError()
    }
  }

  /// Runs calls that leave nothing half done when they are given up, as they are when the task is cancelled: then the
  /// connection refuses every later one. A server that does not even answer to that is not waited for.
  func runUntilCancelled<Value: Sendable>(_ body: @escaping @Sendable (Connection) throws -> Value) async throws
    -> Value
  {
    let answer = FirstAnswer<Value>()
    queue.async { [connection] in answer.give(Result { try body(connection) }) }
    return try await withTaskCancellationHandler {
      try await answer.value()
    } onCancel: {
      interrupt()
      DispatchQueue.global().asyncAfter(deadline: .now() + Self.grace) { answer.give(.failure(CancellationError())) }
    }
  }

  /// Gives up the call that runs, and refuses every later one.
  func interrupt() {
    Thread { [connection] in connection.interrupt() }.start()
  }

  func query(_ sql: SQL, _ parameters: (any Sendable & ParameterConvertible)...) async throws -> [Row] {
    try await run { try $0.query(sql, parameters: parameters).rows }
  }

  /// ``query(_:_:)`` as ``runUntilCancelled(_:)`` runs it.
  func queryUntilCancelled(_ sql: SQL, _ parameters: (any Sendable & ParameterConvertible)...) async throws -> [Row] {
    try await runUntilCancelled { try $0.query(sql, parameters: parameters).rows }
  }

  /// The values of a query with one column, one at a time in memory. A stream that is not read to its end must be
  /// abandoned before the connection is used for anything else.
  func stream(_ sql: SQL, _ parameters: (any Sendable & ParameterConvertible)...) -> ByteStream {
    ByteStream(unfolding: { [self] in
      var hasBegun = false
      return { [self] in
        let isFirst = !hasBegun
        hasBegun = true
        return try await run { connection in
          if isFirst { try connection.beginStreaming(sql, parameters: parameters) }
          return try connection.nextStreamedValue { ByteBuffer(bytes: $0) }
        }
      }
    })
  }

  /// Ends a stream that nobody reads any more; nothing happens when none is open.
  func abandonStream() async throws {
    try await run { $0.abandonStream() }
  }
}

/// Has the server give up the statements of one call.
private final class StatementCancellation: Sendable {
  private let connection: Connection
  private let isBack = Atomic(false)
  private let isOver = DispatchGroup()

  init(_ connection: Connection) {
    self.connection = connection
  }

  func begin() {
    isOver.enter()
    // What arrives before its statement has begun is lost, so it is repeated until the call is back.
    Thread { [self] in
      while !isBack.load(ordering: .sequentiallyConsistent) {
        connection.cancel()
        usleep(10_000)
      }
      isOver.leave()
    }.start()
  }

  /// Returns when nothing of it can meet the next call any more.
  func end() async {
    isBack.store(true, ordering: .sequentiallyConsistent)
    await withCheckedContinuation { continuation in
      isOver.notify(queue: .global()) { continuation.resume() }
    }
  }
}
