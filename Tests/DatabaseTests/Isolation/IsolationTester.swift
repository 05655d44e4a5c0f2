import Foundation
import MigrationGenerator
import Postgres
import RetentionModel
import Synchronization
import Testing

/// PostgreSQL's own `isolationtester`, and the databases that it works on.
enum IsolationTester {
  /// Databases that no run uses at present. Each spec leaves its database as it found it, so they serve many runs.
  private static let idle = Mutex<[RefcountingMode: [String]]>([:])

  /// Runs a spec and returns all that it prints.
  static func output(of spec: IsolationSpec, _ run: IsolationRun) throws -> String {
    let database = try idle.withLock { $0[run.mode, default: []].popLast() } ?? install(TestDatabase(run.mode))
    let output = try output(of: spec, run, on: database)
    idle.withLock { $0[run.mode, default: []].append(database) }
    return output
  }

  /// - Parameter database: the connection string of one that `install` has prepared.
  static func output(of spec: IsolationSpec, _ run: IsolationRun, on database: String) throws -> String {
    let program = try locate()
    let options = [
      "default_transaction_isolation=\(run.level.rawValue.replacing(" ", with: "\\ "))",
      // SERIALIZABLE counts a row as read that a plan has passed. In tables as small as these, statistics of the moment
      // would decide between all rows and those that are asked for; in tables of real size an index leads to the latter.
      "enable_seqscan=off", "jit=off",
    ]
    let environment = [
      "PGOPTIONS": options.map { "-c \($0)" }.joined(separator: " "),
      // A step that waits for longer is cancelled, so that a lock that never comes free fails the test, not the suite.
      "PGISOLATIONTIMEOUT": "30",
    ]
    return try launch(program, [database], input: spec.file, environment: environment)
  }

  /// The differences between an accepted output and another, as `diff` shows them; empty: there are none.
  static func difference(from expected: URL, to output: String) throws -> String {
    let actual = FileManager.default.temporaryDirectory.appending(path: "isolation-\(UUID().uuidString).out")
    try Data(output.utf8).write(to: actual)
    defer { try? FileManager.default.removeItem(at: actual) }
    let labels = ["--label", "expected/\(expected.lastPathComponent)", "--label", "this run"]
    return try launch("/usr/bin/env", ["diff", "--unified=10"] + labels + [expected.path, actual.path])
  }

  /// Where PostgreSQL installs it: in the folder for building extensions, which packagers put in one of two places.
  private static func locate() throws -> String {
    let binaries = try URL(filePath: TestDatabase.server.get().binaries)
    let found = ["lib/pgxs", "lib/postgresql/pgxs"]
      .map { binaries.appending(path: "../\($0)/src/test/isolation/isolationtester").standardized.path }
      .first(where: FileManager.default.isExecutableFile)
    return try #require(
      found,
      """
      isolationtester is not installed beside \(binaries.path). It comes with PostgreSQL: on Debian in the package \
      postgresql-client-NN of the server's version, from source with make -C src/test/isolation install.
      """
    )
  }

  /// Prepares an empty database for specs, and returns its connection string.
  ///
  /// - Parameter files: default: what the model yields.
  static func install(_ database: TestDatabase, files: [MigrationFile]? = nil) throws -> String {
    let files = files ?? MigrationGenerator.files(for: database.model)
    _ = try database.migrator(files).up()
    let helpers = IsolationSpec.folder.appending(path: "helpers.sql").path
    let result = try database.psql(["-q", "-f", helpers])
    try #require(result.status == 0, "\(helpers): \(result.error)")
    for file in files {
      _ = try database.connection.query("INSERT INTO files (name, content) VALUES ($1, $2)", file.path, file.text)
    }
    return database.connectionString
  }

  private static func launch(
    _ program: String,
    _ arguments: [String],
    input: URL? = nil,
    environment: [String: String] = [:]
  ) throws -> String {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(filePath: program)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = try input.map { try FileHandle(forReadingFrom: $0) } ?? FileHandle.nullDevice
    // In one stream: what is wrong belongs where it happened.
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return String(decoding: output, as: UTF8.self)
  }
}
