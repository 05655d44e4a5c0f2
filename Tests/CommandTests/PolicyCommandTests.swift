import Foundation
import SafeSQL
import Testing

@Suite struct PolicyCommandTests {
  private static let hasTerminal = FileManager.default.isExecutableFile(atPath: "/usr/bin/script")

  private func installed() throws -> CommandDatabase {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    try database.succeed("policy", "set", "retention_days=90")
    try database.putExpiredBlob()
    return database
  }

  @Test("A change with which more would be deleted shows what, and is refused without a terminal or --yes")
  func asks() throws {
    let database = try installed()
    let refused = try database.run("policy", "set", "retention_days=30")
    #expect(refused.status == 1 && refused.error.contains("nothing was changed, repeat it with --yes"))
    #expect(
      refused.output == """
        what a cleanup would delete, now and with this change:

                   rows now  bytes now  rows then  bytes then
        preimages         0          0          1           3


        """
    )
    #expect(try database.int("SELECT retention_days FROM jam_retention_policy") == 90)
    let done = try database.succeed("policy", "set", "retention_days=30", "--yes")
    #expect(done.output.hasSuffix("policy retention_days: 90 → 30\n"))
    #expect(try database.int("SELECT retention_days FROM jam_retention_policy") == 30)
  }

  @Test("What deletes no more is done at once: a longer window, a dry run, an archive, other columns")
  func doesNotAsk() throws {
    let database = try installed()
    try database.succeed("policy", "set", "retention_days=30", "--yes")
    #expect(try database.succeed("policy", "set", "archive_days=5").output.contains("archived preimages"))
    #expect(try database.succeed("policy", "set", "retention_days=30").output == "nothing to do\n")
    #expect(try database.succeed("policy", "set", "batch_size=7").output == "policy batch_size: 1000 → 7\n")
    try database.succeed("policy", "set", "retention_days=80", "protected_statuses={disputed}")
    try database.succeed("policy", "set", "dry_run=true", "retention_days=30")
    // From here on nothing is deleted at all, until it is false again.
    try database.succeed("policy", "set", "retention_days=20", "archive_days=0")
    let real = try database.run("policy", "set", "dry_run=false", "--format", "json")
    #expect(real.status == 1)
    let effect = try objects(real.outputLines).first { $0["data_class"] as? String == "preimages" }
    #expect(effect?["rows"] as? Int == 0 && effect?["rows_after"] as? Int == 1 && effect?["bytes_after"] as? Int == 3)
  }

  @Test("To archive less, and to purge what is archived, is asked about as well")
  func archive() throws {
    let database = try installed()
    try database.succeed("policy", "set", "retention_days=30", "archive_days=30", "--yes")
    #expect(try database.run("policy", "set", "archive_days=0").status == 1)
    try database.succeed("cleanup")
    let purge = try database.run("policy", "set", "archive_days=0")
    #expect(purge.status == 1 && purge.output.contains("purged rows              0          0          1           3"))
    #expect(try database.int("SELECT archive_days FROM jam_retention_policy") == 30)
  }

  @Test("A share that lets a refused cleanup delete is asked about; why nothing would be deleted is said")
  func share() throws {
    let database = try installed()
    try database.succeed("policy", "set", "retention_days=30", "--yes")
    let runs = try database.int("SELECT count(*) FROM jam_cleanup_runs")
    let smaller = try database.succeed("policy", "set", "max_delete_fraction=0.5")
    let refusal = "is refused: would delete 1 of 1 rows of preimages, more than max_delete_fraction 0.5"
    #expect(smaller.output.contains("preimages         1          3          0           0\n"))
    #expect(smaller.output.contains("\nwith this change it \(refusal)\n"))
    // A window is judged by what the share then lets through.
    #expect(
      try database.succeed("policy", "set", "retention_days=20").output.contains("with this change it \(refusal)")
    )
    for larger in ["max_delete_fraction=1", "max_delete_fraction="] {
      let refused = try database.run("policy", "set", larger)
      #expect(refused.status == 1 && refused.error.contains("repeat it with --yes"))
      #expect(refused.output.contains("preimages         0          0          1           3\n"))
      #expect(refused.output.contains("\nnow it \(refusal)\n"))
    }
    let json = try objects(database.run("policy", "set", "max_delete_fraction=", "--format", "json").outputLines)
    #expect(json.last?["obstacle"] as? String == refusal && json.last?["obstacle_after"] is NSNull)
    #expect(try database.int("SELECT count(*) FROM jam_retention_policy WHERE max_delete_fraction = 0.5") == 1)
    try database.succeed("policy", "set", "dry_run=true")
    let counted = try database.succeed("policy", "set", "max_delete_fraction=")
    #expect(counted.output.contains("neither now nor with this change\nnow it only counts: dry_run\n"))
    #expect(try database.int("SELECT count(*) FROM jam_cleanup_runs") == runs)
  }

  @Test("A mistake in one assignment leaves all of them alone")
  func mistakes() throws {
    let database = try installed()
    for mistake in ["retention_dayz=1", "batch_size=0", "max_delete_fraction=much"] {
      #expect(try database.run("policy", "set", "retention_days=30", mistake, "--yes").status == 1)
    }
    #expect(try database.int("SELECT retention_days FROM jam_retention_policy") == 90)
  }

  @Test(
    "A value that is not allowed is refused with what is",
    arguments: [
      ("max_delete_fraction=80", "CHECK (max_delete_fraction >= 0", "23514"),
      ("retention_days=40000", "retention_days <= 36500", "23514"),
      ("batch_pause=2h", "batch_pause <= '00:01:00'", "23514"),
      ("protected_statuses=disputed,open", "'protected_statuses={disputed,open}'", "22P02"),
      ("protected_statuses={disputed", "malformed array literal", "22P02"),
    ]
  )
  func allowed(assignment: String, allowed: String, sqlState: String) throws {
    let result = try installed().run("policy", "set", assignment, "--yes")
    #expect(result.status == 1 && result.errorLines.count == 1)
    #expect(result.error.contains(allowed) && result.error.contains("SQLSTATE \(sqlState)"), "\(result.error)")
    #expect(!result.error.contains("{{"))
  }

  @Test("A role that may only read is told which one may change the policy")
  func rights() throws {
    let database = try installed()
    let name = "reads_" + UUID().uuidString.lowercased().prefix(8)
    try database.connection.execute(
      "CREATE ROLE \(Identifier(name)) LOGIN; GRANT SELECT ON jam_retention_policy TO \(Identifier(name))"
    )
    let dsn = database.connectionString.replacing("user=postgres", with: "user=\(name)")
    for column in ["batch_size=7", "retention_days=90"] {
      let result = try database.run("policy", "set", column, "--yes", "--dsn", dsn)
      #expect(result.status == 1 && result.error.contains("SQLSTATE 42501"), "\(result.error)")
      #expect(result.error.contains("sql/optional/roles.sql"), "\(result.error)")
    }
    try database.connection.execute("DROP OWNED BY \(Identifier(name)); DROP ROLE \(Identifier(name))")
  }

  @Test(
    "On a terminal it asks, and does what the answer says",
    .enabled("there is no program script") { hasTerminal },
    arguments: [("y", true), ("n", false), ("", false)]
  )
  func terminal(answer: String, isDone: Bool) throws {
    let database = try installed()
    let command = try Command(
      ["policy", "set", "retention_days=30"],
      environment: ["RUNTIME_JAM_PG_DSN": database.connectionString],
      shell: #"exec script --quiet --return --command "$0 $*" /dev/null"#,
      input: Data("\(answer)\n".utf8)
    )
    let result = try command.end()
    #expect(result.output.contains("Set retention_days 90 → 30? A cleanup would delete more or archive less. [y/N]"))
    #expect(result.output.contains("rows then"))
    #expect(result.status == (isDone ? 0 : 1))
    #expect(try database.int("SELECT retention_days FROM jam_retention_policy") == (isDone ? 30 : 90))
  }
}
