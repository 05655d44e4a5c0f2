import Foundation
import Postgres
import SafeSQL
import Synchronization

/// A throw-away PostgreSQL server, for tests and demonstrations.
///
/// It listens on a Unix socket in a directory of its own and nowhere else, and ends with this process, even if that is
/// killed. As root it runs as the system's user `postgres`, because PostgreSQL refuses to run as root.
public final class EmbeddedPostgres: ThrowAwayServer {
  /// Holds everything: the data, the log and the socket.
  public let directory: String
  /// The directory of `initdb`, `postgres` and `psql`.
  public let binaries: String

  private let server = Mutex<ChildProcess?>(nil)

  private static let patience: TimeInterval = 60

  /// The directory of the server's socket.
  public var socketDirectory: String { directory }

  /// The connection string of the database `postgres`, as its superuser.
  public var connectionString: String { connectionString(database: "postgres") }

  private var dataDirectory: String { "\(directory)/data" }
  private var logFile: String { "\(directory)/log" }

  /// Makes a new cluster and starts its server.
  ///
  /// - Parameters:
  ///   - binaries: the directory of `initdb` and `postgres`. By default `JAM_PG_BIN`, else what `pg_config` says, else the
  ///     newest version below `/usr/lib/postgresql`.
  ///   - settings: lines of `postgresql.conf`; they go before the defaults, one of which is `fsync=off`.
  ///   - authentication: lines of `pg_hba.conf` that go before the defaults, which trust everybody on this machine.
  public static func start(
    binaries: String? = nil,
    settings: [String: String] = [:],
    authentication: [String] = []
  ) throws -> EmbeddedPostgres {
    try make(binaries: Binaries.locate(binaries)) {
      try $0.initialize(settings: settings, authentication: authentication)
    }
  }

  /// Starts a hot standby of this server: a server of its own that holds what is committed here, and follows.
  public func standby() throws -> EmbeddedPostgres {
    try Self.make(binaries: binaries) { try $0.copy(from: self) }
  }

  /// Makes a directory, has a cluster put into it and starts the server.
  private static func make(
    binaries: String,
    cluster: (EmbeddedPostgres) throws -> Void
  ) throws -> EmbeddedPostgres {
    var path = Array("/tmp/jam-pg-XXXXXX".utf8CString)
    // Not Foundation's temporary directory: the path of a Unix socket has at most 107 bytes.
    guard mkdtemp(&path) != nil else {
      throw EmbeddedPostgresError("no directory can be made in /tmp: \(String(cString: strerror(errno)))")
    }
    let directory = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let instance = EmbeddedPostgres(directory: directory, binaries: binaries)
    do {
      if let account = ServerAccount.needed() {
        guard chown(directory, account.user, account.group) == 0 else {
          throw EmbeddedPostgresError("\(directory) cannot be given to \(account): \(String(cString: strerror(errno)))")
        }
      }
      try cluster(instance)
      try instance.launch()
    } catch {
      instance.stop()
      throw error
    }
    return instance
  }

  private init(directory: String, binaries: String) {
    self.directory = directory
    self.binaries = binaries
    RunningServers.add(self)
  }

  deinit {
    stop()
  }

  /// Shuts the server down without waiting for its clients, and removes the directory; again, it does nothing.
  public func stop() {
    shutDown()
    try? FileManager.default.removeItem(atPath: directory)
  }

  /// Ends the server as a power failure would: at once, without a word to its clients or its files. It returns when
  /// neither the postmaster nor a process of it is left.
  public func killHard() {
    server.withLock { server in
      guard let process = server, let postmaster = process.identifier else {
        server = nil
        return
      }
      // Held still, the postmaster starts no further process, and keeps the numbers of those that end from being reused.
      process.send(SIGSTOP)
      ProcessTable.waitUntilStopped(postmaster)
      let children = ProcessTable.children(of: postmaster)
      children.forEach { kill($0, SIGKILL) }
      process.send(SIGKILL)
      _ = process.wait(until: .distantFuture)
      children.forEach(ProcessTable.waitUntilGone)
      server = nil
    }
  }

  /// Starts the server again on the same data: after ``killHard()``, or shutting it down first where it still runs.
  /// After ``stop()`` there are no data any more, which is an error.
  public func restart() throws {
    shutDown()
    guard FileManager.default.fileExists(atPath: dataDirectory) else {
      throw EmbeddedPostgresError("the server in \(directory) was stopped and its data are gone; start a new one")
    }
    try launch()
  }

  /// Makes a new empty database and returns its connection string.
  public func createDatabase(_ name: String) throws -> String {
    let connection = try Connection(ConnectionString(connectionString))
    defer { connection.close() }
    try connection.execute("CREATE DATABASE \(Identifier(name))")
    return connectionString(database: name)
  }

  /// Runs `psql` of the same version, without the user's `.psqlrc`.
  public func psql(
    database: String,
    arguments: [String]
  ) throws -> (status: Int32, output: String, error: String) {
    try run("psql", database: database, arguments: ["--no-psqlrc"] + arguments)
  }

  /// Runs a client program of the same version, for example `pg_dump`.
  public func run(
    _ program: String,
    database: String,
    arguments: [String]
  ) throws -> (status: Int32, output: String, error: String) {
    try ChildProcess.run(
      ["\(binaries)/\(program)", "--dbname", connectionString(database: database)] + arguments,
      directory: FileManager.default.currentDirectoryPath
    )
  }

  private func connectionString(database: String) -> String {
    let isPlain = database.utf8.allSatisfy { byte in
      byte == UInt8(ascii: "_") || (byte < 128 && Character(Unicode.Scalar(byte)).isLetter)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
    let escaped = database.replacingScalars("\\", with: "\\\\").replacingScalars("'", with: "\\'")
    let name = isPlain && !database.isEmpty ? database : "'\(escaped)'"
    return "host=\(socketDirectory) port=5432 user=postgres dbname=\(name)"
  }

  private func initialize(settings: [String: String], authentication: [String]) throws {
    try runAsServer([
      "initdb", "--pgdata=\(dataDirectory)", "--username=postgres", "--auth=trust", "--encoding=UTF8",
      "--locale=C.UTF-8", "--no-sync",
    ])
    try configure(["fsync": "off", "max_connections": "200"].merging(settings) { $1 })
    let file = URL(filePath: "\(dataDirectory)/pg_hba.conf")
    let defaults = try String(contentsOf: file, encoding: .utf8)
    // Not atomically: a new file would be root's.
    try Data((authentication + [defaults]).joined(separator: "\n").utf8).write(to: file)
  }

  private func copy(from primary: EmbeddedPostgres) throws {
    try runAsServer([
      "pg_basebackup", "--pgdata=\(dataDirectory)", "--host=\(primary.socketDirectory)", "--port=5432",
      "--username=postgres", "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
    ])
    try configure([:])
  }

  /// Runs one of the server's programs as the server's user.
  private func runAsServer(_ command: [String]) throws {
    let program = command[0]
    let result = try ChildProcess.run(
      try ServerAccount.prefix() + ["\(binaries)/\(program)"] + command.dropFirst(),
      directory: directory
    )
    guard result.status == 0 else {
      throw EmbeddedPostgresError("\(program) failed with status \(result.status): \(result.error)")
    }
  }

  /// Adds lines to `postgresql.conf`; of two for one setting the last counts.
  private func configure(_ settings: [String: String]) throws {
    let own = ["listen_addresses": "", "unix_socket_directories": directory, "port": "5432"]
    let lines =
      settings
      .merging(own) { $1 }
      .sorted { $0.key < $1.key }
      .map { "\($0) = '\($1.replacingScalars("\\", with: "\\\\").replacingScalars("'", with: "''"))'\n" }
    let configuration = try FileHandle(forWritingTo: URL(filePath: "\(dataDirectory)/postgresql.conf"))
    defer { try? configuration.close() }
    try configuration.seekToEnd()
    try configuration.write(contentsOf: Data(lines.joined().utf8))
  }

  /// Starts the server and waits until it takes connections.
  private func launch() throws {
    let log = open(logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard log >= 0 else {
      throw EmbeddedPostgresError("\(logFile) cannot be written: \(String(cString: strerror(errno)))")
    }
    defer { close(log) }
    // The server hears of this process's death: INT is its fast shutdown, while TERM would wait for clients to leave.
    let server = ["--pdeathsig", "INT", "\(binaries)/postgres", "-D", dataDirectory]
    let command = try ServerAccount.prefix(orElse: ["setpriv"]) + server
    let process = try ChildProcess.start(command, directory: directory, output: log, error: log)
    self.server.withLock { $0 = process }

    let target = try ConnectionString(connectionString)
    let deadline = Date(timeIntervalSinceNow: Self.patience)
    while !Connection.isServerReady(target) {
      let status = process.wait(until: Date(timeIntervalSinceNow: 0.02))
      if status == nil, Date() < deadline { continue }
      killHard()
      let reason = status.map { "ended with status \($0)" } ?? "was not ready after \(Int(Self.patience)) seconds"
      throw EmbeddedPostgresError("the PostgreSQL server \(reason); its log ends with:\n\(endOfLog())")
    }
  }

  private func shutDown() {
    let process = server.withLock { $0 }
    process?.send(SIGINT)
    let hasEnded = process?.wait(until: Date(timeIntervalSinceNow: Self.patience)) != nil
    if process != nil && !hasEnded {
      killHard()
    }
    server.withLock { $0 = nil }
  }

  private func endOfLog() -> String {
    let lines = (try? String(contentsOfFile: logFile, encoding: .utf8))?.split(separator: "\n") ?? []
    return lines.suffix(10).joined(separator: "\n")
  }
}
