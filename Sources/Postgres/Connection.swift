import CLibPQ
import Foundation
import Logging
import SafeSQL
import Synchronization

/// One connection to a server. Calls block, and take turns when several threads make them.
public final class Connection: Sendable {
  private let connection: Mutex<OpaquePointer?>
  /// Apart from the connection, so that a statement can be cancelled while another thread waits for it.
  private let cancellation: Mutex<OpaquePointer?>
  private let isInterrupted = Atomic(false)
  private let noticeReceiver: NoticeReceiver
  private let open: @Sendable () throws -> Connection

  /// The server's version, such as 150004 for 15.4.
  public let serverVersion: Int
  /// The process that serves this connection, as in `pg_stat_activity`.
  public let processID: Int32

  /// Connects.
  ///
  /// - Parameters:
  ///   - string: where to; its own `application_name` goes before `applicationName`.
  ///   - applicationName: what `pg_stat_activity` shows.
  ///   - defaults: options of libpq, where the string does not have them.
  ///   - logger: gets the server's notices; without one they are dropped.
  public init(
    _ string: ConnectionString,
    applicationName: String = "jam-retention",
    defaults: [String: String] = [:],
    logger: Logger? = nil
  ) throws {
    var options = string.options.map { ($0.keyword, $0.value) }
    options += defaults.filter { name, _ in !options.contains { $0.0 == name } }.map { ($0.key, $0.value) }
    options.append(("client_encoding", "UTF8"))
    options.append(("fallback_application_name", applicationName))
    let hasTimeout = options.contains { $0.0 == "connect_timeout" } || getenv("PGCONNECT_TIMEOUT") != nil
    // libpq's default is to wait for ever.
    if !hasTimeout { options.append(("connect_timeout", "10")) }

    let made = withCStrings(options.map(\.0)) { keywords in
      withCStrings(options.map(\.1)) { values in PQconnectdbParams(keywords, values, 0) }
    }
    guard let made else { throw PostgresError(kind: .connection, message: "out of memory") }
    // Nobody else has the pointers yet, and from here on each is behind its mutex.
    nonisolated(unsafe) let opened = made
    guard PQstatus(opened) == CONNECTION_OK else {
      let message = string.redact(String(cString: PQerrorMessage(opened)).trimmedMessage)
      PQfinish(opened)
      throw PostgresError(kind: .connection, message: message)
    }
    open = { try Connection(string, applicationName: applicationName, defaults: defaults, logger: logger) }
    noticeReceiver = NoticeReceiver(logger: logger ?? Logger(label: "postgres") { _ in SwiftLogNoOpLogHandler() })
    noticeReceiver.receiveNotices(of: opened)
    serverVersion = Int(PQserverVersion(opened))
    processID = PQbackendPID(opened)
    nonisolated(unsafe) let canceller = PQgetCancel(opened)
    cancellation = Mutex(canceller)
    connection = Mutex(opened)
    do {
      // Who reads a result must not depend on how a role likes its dates; in which order it writes them stays its own.
      try execute("SET datestyle = ISO; SET intervalstyle = postgres")
    } catch {
      close()
      throw error
    }
  }

  deinit {
    close()
  }

  /// Whether a server answers there, whoever asks.
  public static func isServerReady(_ string: ConnectionString) -> Bool {
    withCStrings(string.options.map(\.keyword)) { keywords in
      withCStrings(string.options.map(\.value)) { values in PQpingParams(keywords, values, 0) == PQPING_OK }
    }
  }

  /// Opens a second connection to the same place, as the same role.
  public func another() throws -> Connection {
    try open()
  }

  /// Runs one statement with parameters (`$1`, `$2`, …).
  public func query(_ sql: SQL, _ parameters: (any Sendable & ParameterConvertible)?...) throws -> QueryResult {
    try query(sql, parameters: parameters)
  }

  /// Runs one statement with the parameters of a list.
  public func query(_ sql: SQL, parameters: [(any Sendable & ParameterConvertible)?]) throws -> QueryResult {
    let text = try Self.checked(sql)
    let values = parameters.map { $0?.postgresText }
    if let position = values.firstIndex(where: { $0?.utf8.contains(0) == true }) {
      throw PostgresError.usage("parameter $\(position + 1) holds a NUL character, which no text can")
    }
    return try withConnection { connection in
      let sent = withCStrings(values) { pointers in
        PQsendQueryParams(connection, text, Int32(values.count), nil, pointers, nil, nil, 0)
      }
      return try Self.finish(Self.answer(to: sent, on: connection), on: connection)
    }
  }

  /// Runs a script of one or more statements and returns the result of the last.
  ///
  /// The server takes the script as one transaction, unless it holds `BEGIN` and `COMMIT` of its own.
  @discardableResult
  public func execute(_ script: SQL) throws -> QueryResult {
    let text = try Self.checked(script)
    return try withConnection { connection in
      try Self.finish(Self.answer(to: PQsendQuery(connection, text), on: connection), on: connection)
    }
  }

  /// Runs the body between `BEGIN` and `COMMIT`, or `ROLLBACK` when it throws.
  public func transaction<Result>(_ body: () throws -> Result) throws -> Result {
    try execute("BEGIN")
    let result: Result
    do {
      result = try body()
    } catch {
      // What the body threw says more than why there is nothing left to roll back.
      _ = try? execute("ROLLBACK")
      throw error
    }
    // COMMIT of a failed transaction succeeds as a ROLLBACK; somebody has swallowed the error in between.
    guard try execute("COMMIT").commandTag == "COMMIT" else {
      throw PostgresError(
        kind: .server,
        message: "the transaction was rolled back because a statement in it had failed",
        sqlState: "25P02"
      )
    }
    return result
  }

  /// Asks the server to give up the statement that another thread waits for; that call then throws SQLSTATE 57014.
  ///
  /// Nothing happens when no statement is running.
  public func cancel() {
    cancellation.withLock { cancellation in
      guard let cancellation else { return }
      var message = [CChar](repeating: 0, count: 256)
      // A server that cannot be reached to be told has given up already.
      _ = PQcancel(cancellation, &message, Int32(message.count))
    }
  }

  /// Cancels the statement that runs and refuses every later one: each call throws SQLSTATE 57014 from now on.
  ///
  /// Returns when the server works for this connection no more, to be called from another thread than the calls'.
  public func interrupt() {
    isInterrupted.store(true, ordering: .sequentiallyConsistent)
    // A cancellation that arrives before its statement has begun is lost, so it is repeated until the call is back.
    while connection.withLockIfAvailable({ _ in }) == nil {
      cancel()
      usleep(10_000)
    }
  }

  /// Runs the body and shows every notice that comes meanwhile to the observer, in the thread of the call that waits.
  ///
  /// - Parameter observer: returns true for what it has dealt with; the logger gets the rest.
  public func observingNotices<Result>(
    _ observer: @escaping @Sendable (Notice) -> Bool,
    during body: () throws -> Result
  ) rethrows -> Result {
    noticeReceiver.observe(observer)
    defer { noticeReceiver.observe(nil) }
    return try body()
  }

  /// Closes the connection; closing it again does nothing.
  public func close() {
    cancellation.withLock { cancellation in
      PQfreeCancel(cancellation)
      cancellation = nil
    }
    connection.withLock { connection in
      PQfinish(connection)
      connection = nil
    }
  }

  /// Runs one statement whose values ``nextStreamedValue()`` hands out one by one: only one is in memory at a time,
  /// however many there are. No other statement can run before the last one was read or the stream abandoned.
  ///
  /// Source: PostgreSQL manual, section 34.6, Retrieving Query Results Row-by-Row.
  public func beginStreaming(_ sql: SQL, parameters: [(any Sendable & ParameterConvertible)?]) throws {
    let text = try Self.checked(sql)
    let values = parameters.map { $0?.postgresText }
    try withConnection { connection in
      let sent = withCStrings(values) { pointers in
        PQsendQueryParams(connection, text, Int32(values.count), nil, pointers, nil, nil, 1)
      }
      guard sent == 1, PQsetSingleRowMode(connection) == 1 else {
        throw PostgresError(result: nil, connection: connection)
      }
    }
  }

  /// What the body makes of the first column of the next row; nil after the last row.
  ///
  /// - Parameter read: gets the value in PostgreSQL's binary format (of a `bytea`: its bytes), where it is in memory until
  ///   the body returns. A NULL counts as empty.
  public func nextStreamedValue<Value: Sendable>(_ read: (UnsafeRawBufferPointer) -> Value) throws -> Value? {
    try withConnection { connection in
      guard let result = PQgetResult(connection) else { return nil }
      defer { PQclear(result) }
      switch PQresultStatus(result) {
      case PGRES_SINGLE_TUPLE:
        return read(UnsafeRawBufferPointer(start: PQgetvalue(result, 0, 0), count: Int(PQgetlength(result, 0, 0))))
      case PGRES_TUPLES_OK, PGRES_COMMAND_OK:
        PQclear(Self.lastResult(of: connection))
        return nil
      default:
        let error = PostgresError(result: result, connection: connection)
        PQclear(Self.lastResult(of: connection))
        throw error
      }
    }
  }

  /// Ends a stream early: the server gives the statement up. Nothing happens when none is open.
  public func abandonStream() {
    // The cancellation takes a connection of its own.
    let isOpen = try? withConnection { PQtransactionStatus($0) == PQTRANS_ACTIVE }
    guard isOpen == true else { return }
    cancel()
    try? withConnection { connection in PQclear(Self.lastResult(of: connection)) }
  }

  /// Runs `COPY … FROM STDIN` with the data.
  public func copyIn(_ sql: SQL, data: some Sequence<UInt8>) throws {
    let text = try Self.checked(sql)
    try withConnection { connection in
      let started = try Self.answer(to: PQsendQuery(connection, text), on: connection)
      guard PQresultStatus(started) == PGRES_COPY_IN else {
        _ = try Self.finish(started, on: connection)
        throw PostgresError.usage("copyIn needs a COPY … FROM STDIN statement")
      }
      PQclear(started)
      try Self.send(data, to: connection)
      guard PQputCopyEnd(connection, nil) == 1 else { throw PostgresError(result: nil, connection: connection) }
      _ = try Self.finish(Self.lastResult(of: connection), on: connection)
    }
  }

  private static func send(_ data: some Sequence<UInt8>, to connection: OpaquePointer) throws {
    let limit = 1 << 16
    var chunk: [CChar] = []
    chunk.reserveCapacity(limit)
    func flush() throws {
      guard PQputCopyData(connection, chunk, Int32(chunk.count)) == 1 else {
        throw PostgresError(result: nil, connection: connection)
      }
      chunk.removeAll(keepingCapacity: true)
    }
    for byte in data {
      chunk.append(CChar(bitPattern: byte))
      if chunk.count == limit { try flush() }
    }
    if !chunk.isEmpty { try flush() }
  }

  private func withConnection<Value: Sendable>(_ body: (OpaquePointer) throws -> Value) throws -> Value {
    try connection.withLock { connection in
      guard let connection else { throw PostgresError(kind: .connection, message: "the connection is closed") }
      guard !isInterrupted.load(ordering: .sequentiallyConsistent) else {
        throw PostgresError(kind: .usage, message: "the session was interrupted", sqlState: "57014")
      }
      return try body(connection)
    }
  }

  private static func checked(_ sql: SQL) throws -> String {
    let text = sql.text
    guard !text.utf8.contains(0) else { throw PostgresError.usage("the statement holds a NUL character") }
    return text
  }

  /// The result of a statement that libpq has sent, if it could.
  ///
  /// `PQexec` would do both, but when the server ends the connection it keeps only that it is lost, not the server's
  /// reason with its SQLSTATE.
  private static func answer(to sent: Int32, on connection: OpaquePointer) throws -> OpaquePointer? {
    guard sent == 1 else { throw PostgresError(result: nil, connection: connection) }
    return lastResult(of: connection)
  }

  /// Reads a result and frees it.
  private static func finish(_ result: OpaquePointer?, on connection: OpaquePointer) throws -> QueryResult {
    defer { PQclear(result) }
    switch PQresultStatus(result) {
    case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
      guard let result else { throw PostgresError(result: nil, connection: connection) }
      return QueryResult(result)
    case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
      abandonCopy(on: connection)
      throw PostgresError.usage("COPY with STDIN or STDOUT is no query", hint: "use copyIn for COPY … FROM STDIN")
    default:
      throw PostgresError(result: result, connection: connection)
    }
  }

  /// Leaves the copy mode, in which the connection takes no statement; a script may enter it several times.
  private static func abandonCopy(on connection: OpaquePointer) {
    var isCopying = true
    while isCopying {
      PQputCopyEnd(connection, "COPY is not supported here")
      var row: UnsafeMutablePointer<CChar>?
      while PQgetCopyData(connection, &row, 0) > 0 {
        PQfreemem(row)
      }
      let next = lastResult(of: connection)
      isCopying = isCopy(next) && PQstatus(connection) == CONNECTION_OK
      PQclear(next)
    }
  }

  private static func isCopy(_ result: OpaquePointer?) -> Bool {
    result != nil && [PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH].contains(PQresultStatus(result))
  }

  /// Reads results until there is none, or until data are to be copied. An error goes before what follows it.
  private static func lastResult(of connection: OpaquePointer) -> OpaquePointer? {
    var last: OpaquePointer?
    while let next = PQgetResult(connection) {
      let endsHere = isCopy(next) || PQstatus(connection) == CONNECTION_BAD
      if last != nil, PQresultStatus(last) == PGRES_FATAL_ERROR {
        PQclear(next)
      } else {
        PQclear(last)
        last = next
      }
      if endsHere { break }
    }
    return last
  }
}
