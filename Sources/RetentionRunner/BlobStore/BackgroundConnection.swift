import Foundation
import NIOCore
import ObjectStore
import Postgres
import SafeSQL

/// A connection for asynchronous code. Its calls block, so they run one after the other on a queue of their own.
final class BackgroundConnection: Sendable {
  private let connection: Connection
  private let queue = DispatchQueue(label: "jam-retention.connection")

  init(_ connection: Connection) {
    self.connection = connection
  }

  /// Opens a connection, which can take as long as libpq waits for a server that does not answer.
  static func open(_ connect: @escaping @Sendable () throws -> Connection) async throws -> BackgroundConnection {
    try await withCheckedThrowingContinuation { continuation in
      DispatchQueue.global().async {
        continuation.resume(with: Result { BackgroundConnection(try connect()) })
      }
    }
  }

  deinit {
    connection.close()
  }

  /// Runs calls on the connection, and returns what they return.
  @discardableResult
  func run<Value: Sendable>(_ body: @escaping @Sendable (Connection) throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { [connection] in continuation.resume(with: Result { try body(connection) }) }
    }
  }

  /// Gives up the call that runs, and refuses every later one.
  func interrupt() {
    Thread { [connection] in connection.interrupt() }.start()
  }

  func query(_ sql: SQL, _ parameters: (any Sendable & ParameterConvertible)...) async throws -> [Row] {
    try await run { try $0.query(sql, parameters: parameters).rows }
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
