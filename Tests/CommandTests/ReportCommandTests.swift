import Foundation
import TestSupport
import Testing

@Suite struct ReportCommandTests {
  @Test("The report is a file, whole or not at all, or standard output")
  func file() throws {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    try database.putExpiredBlob()
    let folder = try TemporaryFolder()
    let path = try folder.write("report.html", "old")
    let written = try database.succeed("report", "-o", path)
    #expect(written.output == "" && written.error == "")
    let page = try String(contentsOfFile: path, encoding: .utf8)
    #expect(page.hasPrefix("<!DOCTYPE html>") && page.hasSuffix("</html>\n"))
    #expect(page.contains(String(repeating: "a", count: 64)) && page.contains("<h1 class=\"good\">Healthy</h1>"))
    #expect(try folder.names() == ["report.html"])
    #expect(try database.succeed("report", "--output", "-").output.hasPrefix("<!DOCTYPE html>"))
    let refused = try database.run("report", "-o", "\(folder.path)/missing/report.html")
    #expect(refused.status == 1 && refused.errorLines.count == 1 && refused.error.contains("cannot be written"))
    // What is asked is only read.
    #expect(try database.int("SELECT count(*) FROM jam_cleanup_runs") == 0)
  }

  @Test(
    "It ends with 3 where a health check fails, if asked to; with 1 where nothing is installed; with 2 for its usage"
  )
  func exitCodes() throws {
    let database = try CommandDatabase()
    let missing = try database.run("report", "-o", "-")
    #expect(missing.status == 1 && missing.output == "" && missing.error.contains("migrate up"))
    try database.succeed("migrate", "up")
    try database.succeed("report", "-o", "-", "--exit-code")
    try database.connection.execute("UPDATE jam_retention_policy SET retention_days = 0")
    #expect(try database.succeed("report", "-o", "-").output.contains("Needs attention: policy"))
    let failing = try database.run("report", "-o", "-", "--exit-code")
    #expect(failing.status == 3 && failing.output.hasSuffix("</html>\n"))
    #expect(try database.run("report").status == 2)
    #expect(try database.run("report", "-o", "-", "--patience", "0").status == 2)
    #expect(try database.run("report", "-o", "-", "--patience", "nan").status == 2)
  }
}
