import Crypto
import Foundation
import Postgres
import TestSupport
import Testing

/// A database with the retention in it, and a directory as its object store, that the program is pointed at.
struct CommandStore {
  let database: CommandDatabase
  private let folder: TemporaryFolder

  var directory: String { "\(folder.path)/store" }
  private var objectFolder: String { "\(directory)/objects" }

  var environment: [String: String] {
    ["RUNTIME_JAM_PG_DSN": database.connectionString, "RUNTIME_JAM_BLOB_STORE_DIRECTORY": directory]
  }

  init() throws {
    try self.init(CommandDatabase())
    try database.succeed("migrate", "up")
  }

  /// A store for a database that has the retention, or gets it.
  init(_ database: CommandDatabase) throws {
    self.database = database
    folder = try TemporaryFolder()
    for name in ["objects", "uploads"] {
      try FileManager.default.createDirectory(atPath: "\(directory)/\(name)", withIntermediateDirectories: true)
    }
  }

  func start(_ arguments: [String], shell: String = "", input: Data = Data()) throws -> Command {
    try Command(arguments, environment: environment, shell: shell, input: input)
  }

  func run(_ arguments: String..., shell: String = "", input: Data = Data()) throws -> Command.Result {
    try start(arguments, shell: shell, input: input).end()
  }

  /// Runs the program, which must succeed.
  @discardableResult
  func succeed(_ arguments: String..., input: Data = Data()) throws -> Command.Result {
    let result = try start(arguments, input: input).end()
    try #require(result.status == 0, "\(arguments): \(result.error)")
    return result
  }

  /// The object that the program prints, which must succeed.
  func json(_ arguments: String...) throws -> [String: Any] {
    let result = try start(arguments + ["--format", "json"]).end()
    try #require(result.status == 0, "\(arguments): \(result.error)")
    return try #require(objects(result.outputLines).first)
  }

  /// Puts a content into its row, as a client does, and returns its hash.
  @discardableResult
  func putInline(_ content: Data) throws -> String {
    _ = try database.connection.query(
      "INSERT INTO jam_preimages (hash, size, data) VALUES ($1, $2::bigint, $3::bytea)",
      content.digest,
      content.count,
      content
    )
    return content.digest
  }

  /// The file of a blob's object.
  func file(_ hash: String) -> URL { URL(filePath: "\(objectFolder)/preimages%2F\(hash)") }

  /// The files of all objects, or of all uploads that are under way.
  func names(_ kind: String = "objects") throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "\(directory)/\(kind)").sorted()
  }

  func external() throws -> Int { try database.int("SELECT count(*) FROM jam_preimages WHERE data IS NULL") }
  func inline() throws -> Int { try database.int("SELECT count(*) FROM jam_preimages WHERE data IS NOT NULL") }
  func leases() throws -> Int { try database.int("SELECT count(*) FROM jam_blob_uploads") }
}

extension Data {
  /// SHA-256 in lower-case hex.
  var digest: String { SHA256.hash(data: self).map { String(format: "%02x", $0) }.joined() }
}
