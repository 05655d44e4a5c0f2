import EmbeddedPostgres
import Foundation
import MigrationGenerator
import Postgres
import RetentionRunner
import SafeSQL

/// The server of one run, and the databases on it.
final class Bench {
  /// Durable, as a user's server is: every commit waits for the disk. No vacuum comes by chance; each round begins with one.
  private static let settings = [
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "1GB",
    "max_wal_size": "16GB", "checkpoint_timeout": "1h", "autovacuum": "off", "maintenance_work_mem": "512MB",
  ]

  let scale: Scale
  let server: EmbeddedPostgres
  /// For scripts and logs.
  let folder: String

  private let administration: Connection
  private var templates: Set<String> = []
  private var forSubmits: [Variant: BenchDatabase] = [:]
  private var databases = 0

  init(scale: Scale) throws {
    self.scale = scale
    server = try EmbeddedPostgres.start(settings: Self.settings)
    folder = FileManager.default.temporaryDirectory.appending(path: "jam-bench-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    administration = try Connection(ConnectionString(server.connectionString))
  }

  func stop() {
    server.stop()
    try? FileManager.default.removeItem(atPath: folder)
  }

  /// What the figures depend on, a line each.
  func surroundings() throws -> [String] {
    let version = try administration.query("SHOW server_version").first?.string("server_version") ?? ""
    let processors = ProcessInfo.processInfo.processorCount
    let settings = Self.settings.sorted { $0.key < $1.key }.map { "\($0.key) = \($0.value)" }
    return [
      "PostgreSQL \(version), \(processors) processors shared with the clients",
      settings.joined(separator: ", "),
      "\(scale.rounds) rounds, \(scale.seconds) s for each figure of pgbench",
    ]
  }

  /// Makes a database of the application's tables, all indexes and some rows, for others to be copied from.
  func template(_ name: String, _ rows: SQL) throws -> String {
    guard templates.insert(name).inserted else { return name }
    let connection = try Connection(ConnectionString(try server.createDatabase(name)))
    defer { connection.close() }
    try apply("010_tables.sql", to: name)
    // The rows are right, so that no foreign key needs to be checked, and the indexes are built faster when they are there.
    try connection.execute("SET session_replication_role = replica; \(rows)")
    try apply("030_indexes.sql", to: name)
    try connection.execute("VACUUM (ANALYZE)")
    return name
  }

  /// Applies one of the generated files as a DBA does.
  private func apply(_ path: String, to database: String) throws {
    guard let file = MigrationGenerator.files(for: .jam).first(where: { $0.path == path }) else {
      throw RunnerError("the model yields no file \(path)")
    }
    let copy = "\(folder)/\(path)"
    try Data(file.text.utf8).write(to: URL(filePath: copy))
    let result = try server.psql(database: database, arguments: ["-q", "-v", "ON_ERROR_STOP=1", "-f", copy])
    guard result.status == 0 else { throw RunnerError("\(path) failed: \(result.error)") }
  }

  /// A copy of a template with a variant installed in it.
  func database(_ variant: Variant, copyOf template: String) throws -> BenchDatabase {
    // Several measurements copy the same template.
    databases += 1
    let name = "\(template)_\(variant.rawValue)_\(databases)"
    // The files as they are, not row by row through the log.
    let strategy: SQL = administration.serverVersion >= 150_000 ? " STRATEGY file_copy" : ""
    try administration.execute("CREATE DATABASE \(Identifier(name)) TEMPLATE \(Identifier(template))\(strategy)")
    return try BenchDatabase(name, variant, server: server, folder: folder)
  }

  func drop(_ databases: [BenchDatabase]) throws {
    for database in databases {
      database.connection.close()
      try administration.execute("DROP DATABASE \(Identifier(database.name)) WITH (FORCE)")
    }
  }

  func drop(template: String) throws {
    templates.remove(template)
    try administration.execute("DROP DATABASE \(Identifier(template))")
  }

  /// The databases that measurements of submits share: the shared blobs and no packages.
  func databasesForSubmits(_ variants: [Variant]) throws -> [BenchDatabase] {
    let template = try template("blobs", Dataset.blobs)
    return try variants.map { variant in
      if let database = forSubmits[variant] { return database }
      let database = try database(variant, copyOf: template)
      forSubmits[variant] = database
      return database
    }
  }

  /// Each database's turn comes once a round, so that a noisy moment hits all alike.
  func rounds<Figure>(
    _ databases: [BenchDatabase],
    count: Int? = nil,
    _ measure: (BenchDatabase) throws -> Figure
  ) rethrows -> [Variant: [Figure]] {
    var figures: [Variant: [Figure]] = [:]
    for _ in 0..<(count ?? scale.rounds) {
      for database in databases { figures[database.variant, default: []].append(try measure(database)) }
    }
    return figures
  }
}
