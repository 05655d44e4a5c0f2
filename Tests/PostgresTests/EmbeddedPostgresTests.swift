import EmbeddedPostgres
import Foundation
import Postgres
import Testing

@Suite struct EmbeddedPostgresTests {
  @Test func survivesACrashAndGoesWhenStopped() throws {
    let server = try EmbeddedPostgres.start(settings: ["fsync": "on", "work_mem": "5MB"])
    let string = try ConnectionString(server.connectionString)
    let connection = try Connection(string)
    #expect(try connection.query("SHOW fsync").first?["fsync"] == "on")
    #expect(try connection.query("SHOW work_mem").first?["work_mem"] == "5MB")
    #expect(try connection.query("SHOW listen_addresses").first?["listen_addresses"] == "")
    try connection.execute("CREATE TABLE kept AS SELECT 1 AS x")

    server.killHard()
    let lost = #expect(throws: PostgresError.self) { try connection.query("SELECT 1") }
    #expect(lost?.kind == .connection)
    #expect(!FileManager.default.fileExists(atPath: "/proc/\(connection.processID)/exe"))
    #expect(throws: PostgresError.self) { try Connection(string) }

    try server.restart()
    #expect(try Connection(string).query("SELECT x FROM kept").first?.int("x") == 1)
    try server.restart()
    #expect(try Connection(string).query("SELECT x FROM kept").first?.int("x") == 1)

    server.stop()
    server.stop()
    #expect(!FileManager.default.fileExists(atPath: server.directory))
    #expect(throws: EmbeddedPostgresError.self) { try server.restart() }
  }

  @Test(arguments: ["plain", "it's a \\ \"name\" = x"])
  func createsDatabases(name: String) throws {
    let server = try TestServer.shared()
    let connection = try Connection(ConnectionString(server.createDatabase(name)))
    #expect(try connection.query("SELECT current_database() AS x").first?["x"] == name)
    let result = try server.psql(
      database: name,
      arguments: ["-At", "-v", "ON_ERROR_STOP=1", "-c", "SELECT current_database()", "-c", "SELECT 1/0"]
    )
    #expect(result.status == 1)
    #expect(result.output == name + "\n")
    #expect(result.error.contains("division by zero"))
  }

  @Test func saysWhatToInstall() throws {
    let error = #expect(throws: EmbeddedPostgresError.self) { try EmbeddedPostgres.start(binaries: "/nowhere") }
    #expect(error?.description.contains("apt-get install postgresql") == true)
  }

  @Test func aWrongSettingIsTold() throws {
    let error = #expect(throws: EmbeddedPostgresError.self) {
      try EmbeddedPostgres.start(settings: ["no_such_setting": "1"])
    }
    #expect(error?.description.contains("no_such_setting") == true)
  }
}
