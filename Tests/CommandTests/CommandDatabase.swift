import EmbeddedPostgres
import Foundation
import Postgres
import SafeSQL
import Testing

/// A database of the shared server that the program is pointed at.
struct CommandDatabase {
  /// Asks the roles `alice` and `carol` for a password, and nobody else.
  private static let server = Result {
    let file = FileManager.default.temporaryDirectory.appending(path: "jam-test-\(UUID().uuidString).conf")
    try Data("local all alice,carol scram-sha-256\nlocal all all trust\n".utf8).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    return try EmbeddedPostgres.start(settings: ["hba_file": file.path])
  }

  let connectionString: String
  let connection: Connection

  /// An empty database.
  init() throws {
    let name = "t_" + UUID().uuidString.lowercased().replacing("-", with: "")
    connectionString = try Self.server.get().createDatabase(name)
    connection = try Connection(ConnectionString(connectionString))
  }

  /// Runs the program on this database.
  func run(_ arguments: String..., environment: [String: String] = [:]) throws -> Command.Result {
    try Command.run(arguments, environment: ["RUNTIME_JAM_PG_DSN": connectionString].merging(environment) { $1 })
  }

  /// Runs the program, which must succeed.
  @discardableResult
  func succeed(_ arguments: String..., environment: [String: String] = [:]) throws -> Command.Result {
    let variables = ["RUNTIME_JAM_PG_DSN": connectionString].merging(environment) { $1 }
    let result = try Command.run(arguments, environment: variables)
    try #require(result.status == 0, "\(arguments): \(result.error)")
    return result
  }

  func int(_ sql: SQL) throws -> Int {
    let row = try #require(connection.query(sql).first)
    return try row.int(row.columns[0])
  }

  /// A blob that expired and that nothing refers to.
  func putExpiredBlob() throws {
    try connection.execute(
      "INSERT INTO jam_preimages (hash, size, data, created_at) VALUES (repeat('a', 64), 3, 'abc', now() - interval '60 days')"
    )
  }
}
