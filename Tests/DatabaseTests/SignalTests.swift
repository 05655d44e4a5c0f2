import Foundation
import MigrationGenerator
import Postgres
import SafeSQL
import Testing

@Suite struct SignalTests {
  /// The command, built beside the tests, in a database.
  private func start(_ arguments: [String], in database: TestDatabase) throws -> (process: Process, error: Pipe) {
    let products = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let process = Process()
    process.executableURL = URL(filePath: products).deletingLastPathComponent().appending(path: "jam-retention")
    process.arguments = arguments + ["--dsn", database.connectionString + " application_name=command"]
    let error = Pipe()
    process.standardError = error
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    return (process, error)
  }

  private func wait(for process: Process) -> Int32 {
    process.waitUntilExit()
    return process.terminationStatus
  }

  private func text(_ pipe: Pipe) -> String {
    String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  }

  /// A database whose cleanup takes longer than a test would wait.
  private func database() throws -> TestDatabase {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.submit([], age: "60 days")
    try database.connection.execute("UPDATE jam_retention_policy SET batch_pause = '1 minute'")
    return database
  }

  private let running: SQL = "SELECT count(*) FROM jam_cleanup_runs WHERE status = 'running'"
  private let sessions: SQL = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'command'
    """

  @Test(
    "A signal cancels a cleanup on the server; the next run marks it and does its work",
    arguments: [SIGINT, SIGTERM]
  )
  func cleanup(signal: Int32) throws {
    let database = try database()
    let command = try start(["cleanup"], in: database)
    while try database.int(running) == 0 {}
    kill(command.process.processIdentifier, signal)
    #expect(wait(for: command.process) == 128 + signal)
    let name = signal == SIGINT ? "SIGINT" : "SIGTERM"
    let line = "cleanup was stopped by \(name); what it has committed stays, and it can be started again\n"
    #expect(text(command.error).hasSuffix("\njam-retention: \(line)"))
    while try database.int(sessions) > 0 {}

    try database.connection.execute("UPDATE jam_retention_policy SET batch_pause = '0'")
    let row = try database.retention.cleanup()
    #expect(row["status"] == "completed" && row["deleted_packages"] == "1")
    #expect(
      try database.retention.lastRuns().rows.map { $0["status"] } == ["completed", "interrupted"]
    )
  }

  @Test("A signal ends a command that waits for another installer")
  func betweenStatements() throws {
    let database = try TestDatabase()
    try database.createTables()
    let holder = try database.connect()
    let key = ObjectNames(database.model).installerLock
    _ = try holder.query("SELECT pg_advisory_lock(\(key))")
    let command = try start(["migrate", "up"], in: database)
    while try database.int(sessions) == 0 {}
    kill(command.process.processIdentifier, SIGTERM)
    #expect(wait(for: command.process) == 128 + SIGTERM)
    #expect(text(command.error).contains("migrate up was stopped by SIGTERM"))
  }

  @Test("A signal ends what waits for a blob's table", arguments: ["head", "get"])
  func blobs(command name: String) throws {
    let database = try database()
    let holder = try database.connect()
    try holder.execute("BEGIN; LOCK TABLE jam_preimages IN ACCESS EXCLUSIVE MODE")
    let command = try start(["blob", name, hash(1)], in: database)
    while try database.int("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0 {}
    kill(command.process.processIdentifier, SIGTERM)
    #expect(wait(for: command.process) == 128 + SIGTERM)
    #expect(text(command.error).contains("blob \(name) \(hash(1)) was stopped by SIGTERM"))
  }

  @Test("A second signal ends the command at once, even if the server does not answer")
  func second() throws {
    let database = try database()
    let command = try start(["cleanup"], in: database)
    while try database.int(running) == 0 {}
    let backend = try database.int(
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'command' AND query LIKE 'CALL%'"
    )
    kill(pid_t(backend), SIGSTOP)
    defer { kill(pid_t(backend), SIGCONT) }
    kill(command.process.processIdentifier, SIGINT)
    kill(command.process.processIdentifier, SIGTERM)
    #expect([128 + SIGINT, 128 + SIGTERM].contains(wait(for: command.process)))
    #expect(text(command.error) == "")
  }
}
