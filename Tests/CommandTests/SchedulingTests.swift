import EmbeddedPostgres
import Foundation
import TestSupport
import Testing
import Yams

/// What the README shows for schedulers, taken from it: each is checked as far as a machine without that scheduler can,
/// and what it calls is run.
@Suite struct SchedulingTests {
  /// The code block that contains a text.
  private func block(_ text: String) throws -> String {
    let readme = URL(filePath: #filePath).appending(path: "../../../README.md").standardized
    let parts = try String(contentsOf: readme, encoding: .utf8).components(separatedBy: "```")
    let found = parts.indices.filter { $0 % 2 == 1 && parts[$0].contains(text) }
    try #require(found.count == 1, "\(text)")
    return parts[found[0]].drop { $0 != "\n" }.dropFirst().description
  }

  /// Runs a command line of the README with the program that was built.
  private func expectCleanup(_ line: String) throws {
    let words = line.split(separator: " ").map(String.init)
    #expect(words[0] == "/usr/local/bin/jam-retention")
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    try database.putExpiredBlob()
    let result = try Command.run(
      Array(words.dropFirst()),
      environment: ["RUNTIME_JAM_PG_DSN": database.connectionString]
    )
    #expect(result.status == 0, "\(result.error)")
    #expect(try database.int("SELECT deleted_preimages FROM jam_cleanup_runs WHERE status = 'completed'") == 1)
  }

  @Test("The systemd units are what systemd takes, and call a cleanup")
  func systemd() throws {
    let service = try block("jam-cleanup.service")
    let timer = try block("jam-cleanup.timer")
    let line = try #require(service.firstMatch(of: /ExecStart=(.*)/)).1
    try expectCleanup(String(line))
    guard try ChildProcess.run(["sh", "-c", "command -v systemd-analyze"]).status == 0 else { return }
    let folder = try TemporaryFolder()
    // A program that is here: systemd looks whether it is.
    let paths = [
      try folder.write("jam-cleanup.service", service.replacing("/usr/local/bin/jam-retention", with: "/bin/true")),
      try folder.write("jam-cleanup.timer", timer),
    ]
    let result = try ChildProcess.run(["systemd-analyze", "verify"] + paths)
    #expect(result.status == 0 && result.error.isEmpty, "\(result.error)")
    let broken = try folder.write("broken.timer", timer.replacing("OnCalendar=*-*-* 03:15", with: "OnCalendar=25:00"))
    #expect(try !ChildProcess.run(["systemd-analyze", "verify", broken]).error.isEmpty)
  }

  @Test("The unit of the service is what systemd takes")
  func systemdService() throws {
    let unit = try block("jam-retention.service")
    #expect(unit.contains("ExecStart=/usr/local/bin/jam-retention serve "))
    guard try ChildProcess.run(["sh", "-c", "command -v systemd-analyze"]).status == 0 else { return }
    let folder = try TemporaryFolder()
    let path = try folder.write(
      "jam-retention.service",
      unit.replacing("/usr/local/bin/jam-retention", with: "/bin/true")
    )
    let result = try ChildProcess.run(["systemd-analyze", "verify", path])
    #expect(result.status == 0 && result.error.isEmpty, "\(result.error)")
  }

  @Test("The CronJob is well-formed, and calls a cleanup")
  func kubernetes() throws {
    let job = try #require(Yams.load(yaml: block("kind: CronJob")) as? [String: Any])
    #expect(job["apiVersion"] as? String == "batch/v1" && job["kind"] as? String == "CronJob")
    let spec = try #require(job["spec"] as? [String: Any])
    #expect(try #require(spec["schedule"] as? String).split(separator: " ").count == 5)
    #expect(spec["concurrencyPolicy"] as? String == "Forbid")
    let template = try #require((spec["jobTemplate"] as? [String: Any])?["spec"] as? [String: Any])
    let pod = try #require((template["template"] as? [String: Any])?["spec"] as? [String: Any])
    #expect(pod["restartPolicy"] as? String == "Never")
    let container = try #require((pod["containers"] as? [[String: Any]])?.first)
    let arguments = try #require(container["args"] as? [String])
    try expectCleanup((["/usr/local/bin/jam-retention"] + arguments).joined(separator: " "))
  }

  @Test("The line for cron has five times, a user and a command that cleans up")
  func cron() throws {
    let line = try #require(block("* * * jam-retention").split(separator: "\n").last)
    let entry = try #require(line.wholeMatch(of: /(\d+) (\d+) \* \* \* (\S+) (.*)/))
    #expect(entry.3 == "jam-retention" && !entry.4.contains("%"))
    try expectCleanup(String(entry.4))
  }
}
