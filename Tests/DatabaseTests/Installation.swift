import EmbeddedPostgres
import Foundation
import Logging
import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// How a test's database came to its retention: which mode, and whether its data was there before.
struct Installation: Sendable, CustomTestStringConvertible {
  enum Data: CaseIterable { case before, after }

  var refcounting: RefcountingMode
  var data: Data

  static let all = RefcountingMode.allCases.flatMap { mode in
    Data.allCases.map { Installation(refcounting: mode, data: $0) }
  }

  var testDescription: String { "\(refcounting.rawValue), data \(data) the migrations" }
}

/// A database of the shared server, with the generated files installed as a user installs them.
struct TestDatabase {
  /// With logical replication, whose workers are not kept from starting at once.
  static let server = Result {
    // A statement that would wait for ever is a failure, and does not stop all tests.
    try EmbeddedPostgres.start(settings: [
      "wal_level": "logical", "wal_retrieve_retry_interval": "50ms", "statement_timeout": "20min",
    ])
  }
  static let logger = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }

  let name: String
  let connectionString: String
  let connection: Connection
  let model: RetentionModel

  var retention: RetentionDatabase {
    RetentionDatabase(connection: connection, model: model, logger: Self.logger)
  }

  /// A new database with nothing in it.
  init(_ refcounting: RefcountingMode = .immediate, schema: String = "public", on server: EmbeddedPostgres? = nil)
    throws
  {
    var model = RetentionModel.jam
    model.refcounting = refcounting
    model.schema = schema
    try self.init(model: model, on: server)
  }

  /// - Parameter server: a server of the test's own, where it does something to it; default: the shared one.
  init(model: RetentionModel, on server: EmbeddedPostgres? = nil) throws {
    name = "t_" + UUID().uuidString.lowercased().replacing("-", with: "")
    connectionString = try (server ?? Self.server.get()).createDatabase(name)
    connection = try Connection(ConnectionString(connectionString))
    self.model = model
  }

  /// A second session, with further options of libpq.
  func connect(_ options: String = "") throws -> Connection {
    try Connection(ConnectionString("\(connectionString) \(options)"))
  }

  /// Applies the files with the runner.
  func migrate() throws -> [String] { try migrator().up() }

  /// The runner's migrator for the model's files, or for others, on this connection or another.
  func migrator(_ files: [MigrationFile]? = nil, on session: Connection? = nil) throws -> Migrator {
    try Migrator(
      files: files ?? MigrationGenerator.files(for: model),
      model: model,
      connection: session ?? connection,
      logger: Self.logger
    )
  }

  func psql(_ arguments: [String]) throws -> (status: Int32, output: String, error: String) {
    try Self.server.get().psql(database: name, arguments: ["-v", "ON_ERROR_STOP=1"] + arguments)
  }

  /// Applies the files as a DBA does, in a folder of their own.
  func migrateWithPsql() throws {
    try withFiles(applyWithPsql)
  }

  /// The files on disk while the body runs, which gets their folder.
  func withFiles(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: name).path
    _ = try GeneratedFiles(folder: folder, files: MigrationGenerator.files(for: model)).write()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }

  /// One `psql` for each file.
  func applyWithPsql(_ folder: String) throws {
    for file in try FileManager.default.contentsOfDirectory(atPath: folder).sorted() where file.hasSuffix(".sql") {
      let result = try psql(["-q", "-f", "\(folder)/\(file)"])
      try #require(result.status == 0, "\(file): \(result.error)")
    }
  }

  /// Creates the application's tables only.
  func createTables() throws {
    let file = try #require(MigrationGenerator.files(for: model).first { $0.path == "010_tables.sql" })
    try connection.execute("\(raw: file.text)")
  }

  func int(_ sql: SQL) throws -> Int {
    let row = try #require(connection.query(sql).first)
    return try row.int(row.columns[0])
  }

  func refcount(_ hash: String) throws -> Int {
    try connection.query("SELECT refcount FROM jam_preimage_refcounts WHERE hash = $1", hash).first?.int("refcount")
      ?? -1
  }

  /// Inserts a blob as a real client does: with a refcount of its own.
  func put(_ hash: String, age: String = "0") throws {
    _ = try connection.query(
      """
      INSERT INTO jam_preimages (hash, size, data, created_at, refcount) VALUES ($1, 3, 'abc', now() - $2::interval, 1)
      ON CONFLICT (hash) DO UPDATE SET refcount = jam_preimages.refcount + 1, size = EXCLUDED.size,
        media_type = EXCLUDED.media_type, data = EXCLUDED.data
      """,
      hash,
      age
    )
  }

  /// Submits a package and returns its id.
  @discardableResult
  func submit(_ hashes: [String], age: String = "0", on session: Connection? = nil) throws -> String {
    let service = "00000000-0000-0000-0000-000000000001"
    let session = session ?? connection
    _ = try session.query(
      "INSERT INTO jam_services (id, owner, code_hash) VALUES ($1::uuid, '', '') ON CONFLICT DO NOTHING",
      service
    )
    return try #require(
      session.query(
        """
        INSERT INTO jam_work_packages (id, service_id, preimage_hashes, created_at)
        VALUES (gen_random_uuid(), $1::uuid, $2::text[], now() - $3::interval) RETURNING id
        """,
        service,
        hashes,
        age
      ).first
    ).string("id")
  }

  func expectLaw(_ location: SourceLocation = #_sourceLocation) throws {
    let drift = try retention.verify().rows.map { "\($0["hash"] ?? "")" }
    #expect(drift == [], "the conservation law is broken", sourceLocation: location)
  }
}

/// A hash that names no real content.
func hash(_ number: Int) -> String {
  let digits = String(number, radix: 16)
  return String(repeating: "0", count: 64 - digits.count) + digits
}
