import Foundation
import Postgres
import SafeSQL
import TestSupport
import Testing

@Suite struct MigrateCommandTests {
  private let database: CommandDatabase

  init() throws {
    database = try CommandDatabase()
    try database.succeed("migrate", "up")
  }

  @Test(
    "A folder of files that cannot be read is named, with the system's reason",
    arguments: [["migrate", "plan"], ["migrate", "up"], ["doctor"], ["serve"]]
  )
  func from(command: [String]) throws {
    let folder = try TemporaryFolder()
    let file = try folder.write("file", "x")
    try folder.write("latin1.sql", "")
    try Data([0x2d, 0x2d, 0xe9]).write(to: URL(filePath: "\(folder.path)/latin1.sql"))
    let cases = [
      ("\(folder.path)/none", "\(folder.path)/none cannot be read: No such file or directory"),
      (file, "\(file) cannot be read: Not a directory"),
      (folder.path, "\(folder.path)/latin1.sql cannot be read: it is not UTF-8"),
    ]
    for (path, text) in cases {
      for format in ["text", "json"] {
        let result = try Command.run(
          command + ["--from", path, "--log-format", format],
          environment: ["RUNTIME_JAM_PG_DSN": database.connectionString]
        )
        #expect(result.status == 1 && !result.error.contains("NSCocoaErrorDomain"))
        let line = try #require(result.errorLines.last)
        let shown = try format == "json" ? objects([line]).first?["error"] as? String : String(line)
        #expect(shown?.contains(text) == true, "\(line)")
      }
    }
  }

  // MARK: Rights

  private func withRole(_ body: (_ name: String, _ dsn: String) throws -> Void) throws {
    let name = "looks_" + UUID().uuidString.lowercased().prefix(8)
    try database.connection.execute("CREATE ROLE \(Identifier(name)) LOGIN")
    defer { _ = try? database.connection.execute("DROP OWNED BY \(Identifier(name)); DROP ROLE \(Identifier(name))") }
    try body(name, database.connectionString.replacing("user=postgres", with: "user=\(name)"))
  }

  @Test("Who only looks is told of the role for readers; who migrates, of the rights that this takes")
  func rights() throws {
    try withRole { role, dsn in
      let commands = [["doctor"], ["migrate", "plan"], ["migrate", "status"], ["migrate", "verify"]]
      for command in commands {
        let result = try Command.run(command + ["--dsn", dsn])
        #expect(result.status == 1 && result.error.contains("GRANT jam_reader TO \(role), "), "\(result.error)")
        #expect(result.error.contains("SQLSTATE 42501") && !result.error.contains("GRANT CREATE"), "\(result.error)")
      }
      let up = try Command.run(["migrate", "up", "--dsn", dsn])
      #expect(up.status == 1 && up.error.contains("GRANT CREATE ON SCHEMA public TO \(role), "), "\(up.error)")
      #expect(!up.error.contains("jam_reader"))

      // What the error says to do is all that is missing.
      let roles = URL(filePath: #filePath).appending(path: "../../../sql/optional/roles.sql").standardized
      try database.connection.execute("\(raw: String(contentsOf: roles, encoding: .utf8))")
      try database.connection.execute("GRANT jam_reader TO \(Identifier(role))")
      for command in commands {
        let result = try Command.run(command + ["--dsn", dsn])
        #expect(result.status != 1, "\(command): \(result.error)")
      }
    }
  }

  // MARK: Locks

  @Test("A lock that does not come free: the session that has it is named, and none that does not stand in the way")
  func lock() throws {
    func session(_ name: String, _ script: SQL) throws -> Connection {
      let connection = try Connection(ConnectionString("\(database.connectionString) application_name=\(name)"))
      try connection.execute(script)
      return connection
    }
    let holder = try session("grafana", "BEGIN; LOCK TABLE jam_work_packages IN ROW EXCLUSIVE MODE")
    // It reads, which no trigger that is made stands against.
    let bystander = try session("app", "BEGIN; SELECT FROM jam_services, jam_work_reports")
    defer { for connection in [holder, bystander] { connection.close() } }
    try database.connection.execute("UPDATE jam_schema_migrations SET checksum = '' WHERE name = '050_triggers.sql'")
    let result = try database.run("migrate", "up")
    #expect(result.status == 1 && result.error.contains("in 5 attempts (SQLSTATE 55P03)"), "\(result.error)")
    #expect(result.error.contains("process \(holder.processID) (grafana) has jam_work_packages locked; end "))
    #expect(!result.error.contains("(app)"), "\(result.error)")
    try holder.execute("ROLLBACK")
    #expect(try database.succeed("migrate", "up").output == "applied 050_triggers.sql\n")
  }
}
