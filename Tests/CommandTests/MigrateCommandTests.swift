import Foundation
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
}
