import Foundation
import Testing

@Suite struct UndoCommandTests {
  private func cleaned() throws -> CommandDatabase {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    try database.succeed("policy", "set", "archive_days=30")
    try database.putExpiredBlob()
    let cleanup = try database.succeed("cleanup")
    let figures = cleanup.outputLines.map { $0.split(separator: " ").joined(separator: " ") }
    #expect(Array(figures.suffix(4)) == ["archived_rows 1", "archived_bytes 3", "purged_rows 0", "purged_bytes 0"])
    return database
  }

  @Test("undo brings a run back, says so, and names what is in the way")
  func undo() throws {
    let database = try cleaned()
    let undone = try database.succeed("undo", "1")
    #expect(undone.output == "1 row is back, 3 B of blobs\n")
    #expect(undone.error.contains("cleanups only count from now on"))
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 1)
    #expect(try database.succeed("undo", "1").output == "0 rows are back, 0 B of blobs\n")

    try database.succeed("policy", "set", "dry_run=false", "--yes")
    try database.succeed("cleanup")
    try database.connection.execute(
      "INSERT INTO jam_preimages (hash, size, data) VALUES (repeat('a', 64), 5, 'other')"
    )
    let conflict = try database.run("undo", "2", "--format", "json", "--log-format", "json")
    #expect(conflict.status == 3)
    let lines = try objects(conflict.outputLines)
    #expect(lines.first?["kind"] as? String == "conflict" && lines.first?["table_name"] as? String == "jam_preimages")
    #expect(lines.last?["rows"] as? Int == 0 && lines.last?["conflicts"] as? Int == 1)
    let event = try #require(objects(conflict.errorLines).last { $0["event"] as? String == "undo" })
    #expect(event["run_id"] as? Int == 2 && event["conflicts"] as? Int == 1)
    let text = try database.run("undo", "2")
    #expect(text.output.hasSuffix("0 rows are back, 0 B of blobs; 1 row stays in the archive\n"))
  }

  @Test("undo of a run that is not there, and of a word")
  func mistakes() throws {
    let database = try cleaned()
    let missing = try database.run("undo", "9")
    #expect(missing.status == 1 && missing.error.contains("there is no cleanup run 9"))
    #expect(try database.run("undo", "last").status == 2)
    #expect(try database.run("undo").status == 2)
  }
}
