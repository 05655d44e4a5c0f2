import Foundation
import Testing

@Suite struct CleanupCommandTests {
  private let database: CommandDatabase

  init() throws {
    database = try CommandDatabase()
    try database.succeed("migrate", "up")
    try database.putExpiredBlob()
  }

  private func json(_ arguments: String...) throws -> [String: Any] {
    let result = try Command.run(
      ["cleanup", "--format", "json"] + arguments,
      environment: ["RUNTIME_JAM_PG_DSN": database.connectionString]
    )
    try #require(result.status == 0, "\(result.error)")
    return try #require(objects(result.outputLines).first)
  }

  @Test("A cleanup says whether it only counted, by the flag or by the policy")
  func dryRun() throws {
    let remark = "dry run: nothing was deleted; the figures are what a cleanup would delete\n"
    #expect(try json("--dry-run")["dry_run"] as? Bool == true)
    #expect(try database.succeed("cleanup", "--dry-run").output.hasPrefix(remark))
    try database.succeed("policy", "set", "dry_run=true")
    #expect(try json()["dry_run"] as? Bool == true)
    let counted = try database.succeed("cleanup")
    #expect(counted.output.hasPrefix(remark) && counted.outputLines.contains("dry_run               yes"))
    // The policy's dry run finds work as well.
    #expect(try database.run("cleanup", "--exit-code").status == 3)
    try database.succeed("policy", "set", "dry_run=false", "--yes")
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 1)
    let real = try database.succeed("cleanup").output
    #expect(!real.contains("dry run") && real.contains("\ndry_run               no\n"))
    #expect(try json()["dry_run"] as? Bool == false)
  }

  @Test("What a cleanup has left for the next and what it has archived stands with the rest, aligned")
  func figures() throws {
    try database.succeed("policy", "set", "archive_days=5", "--yes")
    #expect(try json("--dry-run")["busy_rows"] as? Int == 0)
    let lines = try database.succeed("cleanup").outputLines
    #expect(lines.contains("busy_rows             0") && lines.contains("archived_rows         1"))
    #expect(lines.allSatisfy { $0.prefix(22).hasSuffix("  ") && !$0.dropFirst(22).hasPrefix(" ") }, "\(lines)")
  }

  @Test("An object of JSON has the same keys whatever the run has found, and dates that do not depend on the role")
  func sameKeys() throws {
    let first = try json("--dry-run")
    #expect(first["archived_rows"] as? Int == 0 && first["purged_bytes"] as? Int == 0)
    try database.connection.execute(
      """
      DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = "SQL, DMY"', current_database()); END $$;
      DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET intervalstyle = iso_8601', current_database()); END $$
      """
    )
    try database.succeed("policy", "set", "batch_pause=1500ms", "--yes")
    let policy = try database.succeed("policy", "show", "--format", "json").output
    #expect(policy.contains(#/"installed_at":"\d{4}-\d\d-\d\d /#) && policy.contains(#""batch_pause":"00:00:01.5""#))
  }

  @Test("With --exit-code, what would only be purged from the archive is a finding")
  func purgeIsAFinding() throws {
    try database.succeed("policy", "set", "archive_days=5", "--yes")
    try database.succeed("cleanup")
    #expect(try database.run("cleanup", "--dry-run", "--exit-code").status == 0)
    try database.connection.execute("UPDATE jam_archive SET archived_at = archived_at - interval '6 days'")
    let result = try database.run("cleanup", "--dry-run", "--exit-code")
    #expect(result.status == 3 && result.output.contains("purged_rows           1"), "\(result.output)")
  }

  @Test(
    "A dry run that would be refused says why, and has failed",
    arguments: [
      (
        "ALTER TABLE jam_work_packages DISABLE TRIGGER jam_work_packages_count_insert",
        "trigger jam_work_packages_count_insert of table jam_work_packages is disabled: references would be lost"
      ),
      (
        "UPDATE jam_retention_policy SET max_delete_fraction = 0.5",
        "would delete 1 of 1 rows of preimages, more than max_delete_fraction 0.5"
      ),
    ]
  )
  func refusal(cause: String, reason: String) throws {
    try database.connection.execute("\(raw: cause)")
    for (number, arguments) in [["--dry-run"], ["--dry-run", "--exit-code"], []].enumerated() {
      if arguments.isEmpty { try database.connection.execute("UPDATE jam_retention_policy SET dry_run = true") }
      let result = try Command.run(
        ["cleanup", "--log-format", "json"] + arguments,
        environment: ["RUNTIME_JAM_PG_DSN": database.connectionString]
      )
      #expect(result.status == 1 && result.output.contains("refused"))
      let events = try objects(result.errorLines)
      #expect(events.map { $0["event"] as? String } == ["cleanup", "command failed"])
      #expect(events.allSatisfy { $0["level"] as? String == "error" })
      #expect((events.first?["error"] as? String)?.contains(reason) == true, "\(events)")
      let run = 2 * number + 1
      let line = "jam-retention: cleanup run \(run + 1), a dry run, was refused as a real one would be: \(reason); "
      let text = try Command.run(
        ["cleanup", "--log-level", "critical"] + arguments,
        environment: ["RUNTIME_JAM_PG_DSN": database.connectionString]
      )
      #expect(text.errorLines.count == 1 && text.error.hasPrefix(line), "\(text.error)")
    }
  }
}
