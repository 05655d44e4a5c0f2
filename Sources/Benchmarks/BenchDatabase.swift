import EmbeddedPostgres
import Foundation
import Logging
import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL

/// A database with one variant installed.
struct BenchDatabase {
  let name: String
  let variant: Variant
  let connectionString: String
  let connection: Connection
  private let server: EmbeddedPostgres
  private let folder: String

  init(_ name: String, _ variant: Variant, server: EmbeddedPostgres, folder: String) throws {
    self.name = name
    self.variant = variant
    self.server = server
    self.folder = folder
    connectionString = "host=\(server.socketDirectory) port=5432 user=postgres dbname=\(name)"
    connection = try Connection(ConnectionString(connectionString))
    try install()
  }

  private func install() throws {
    switch variant {
    case .none, .joins: break
    case .rows: try connection.execute("\(HandWritten.rowsTriggers); \(HandWritten.rowsBackfill)")
    case .immediate, .deferred: try migrate(to: variant)
    }
    for statement in variant.settle { try connection.execute(statement) }
  }

  /// Applies all files of an own variant.
  func migrate(to variant: Variant) throws {
    guard let model = variant.model else { return }
    _ = try Migrator(
      files: MigrationGenerator.files(for: model),
      model: model,
      connection: connection,
      logger: Logger(label: "benchmarks") { _ in SwiftLogNoOpLogHandler() }
    ).up()
  }

  /// A second session.
  func connect() throws -> Connection { try Connection(ConnectionString(connectionString)) }

  /// Runs statements, each a transaction of its own, and returns the seconds that they took.
  func seconds(_ statements: [SQL]) throws -> Double {
    let start = ContinuousClock.now
    for statement in statements { try connection.execute(statement) }
    return (ContinuousClock.now - start).seconds
  }

  func execute(_ statements: [SQL]) throws { _ = try seconds(statements) }

  func number(_ query: SQL) throws -> Double {
    guard let row = try connection.query(query).first, let name = row.columns.first else { return .nan }
    return try row.double(name)
  }

  /// No packages, nothing to be counted, no dead rows.
  func reset() throws {
    try execute(["TRUNCATE jam_work_packages CASCADE"] + variant.settle)
  }

  /// Adds rows as data that was there before; how long counting them takes is measured elsewhere.
  func load(_ rows: SQL) throws {
    if variant == .rows {
      // Its triggers would take minutes.
      try connection.execute("SET session_replication_role = replica; \(rows); RESET session_replication_role")
      try connection.execute(HandWritten.rowsBackfill)
    } else {
      try connection.execute(rows)
    }
    try execute(variant.settle)
  }

  /// Runs `pgbench` until time is up or all transactions are done.
  func pgbench(_ script: String, clients: Int, for amount: PgBench.Amount) throws -> PgBench.Result {
    try PgBench(program: "\(server.binaries)/pgbench", target: connectionString, folder: folder)
      .run(script, clients: clients, for: amount)
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
