import Foundation
import TestSupport
import Testing

@Suite struct CommandTests {
  @Test("Exit codes: 0 done, 1 failed, 2 usage, 3 findings")
  func exitCodes() throws {
    let database = try CommandDatabase()
    let folder = try TemporaryFolder()
    #expect(try Command.run(["--help"]).status == 0)
    #expect(try database.run("migrate", "verify").status == 3)
    #expect(try database.run("migrate", "up").status == 0)
    #expect(try database.run("migrate", "verify").status == 0)
    #expect(try Command.run(["status", "--dsn", "host=\(folder.path)"]).status == 1)
    #expect(try database.run("cleanup", "--cutoff", "tomorrow").status == 1)
    #expect(try database.run("cleanup", "--cutoff", "soon").status == 2)
    #expect(try database.run("status", "--dsn", "host").status == 2)
    #expect(try database.run("migrate", "up", "--retention-days", "99999").status == 2)
    #expect(try database.run("migrate", "up", environment: ["RUNTIME_JAM_RETENTION_DAYS": "99999"]).status == 1)
    #expect(try database.run("cleanup", "--format", "xml").status == 2)
    #expect(try database.run("policy", "set", "retention_days").status == 2)
    #expect(try Command.run(["generate", "--check", "--out", folder.path]).status == 3)
    #expect(try database.run("cleanup", "--dry-run", "--exit-code").status == 0)
    try database.putExpiredBlob()
    #expect(try database.run("cleanup", "--dry-run").status == 0)
    #expect(try database.run("cleanup", "--dry-run", "--exit-code").status == 3)
    #expect(try database.run("verify").status == 0)
    try database.connection.execute("INSERT INTO jam_unresolved_references VALUES (repeat('b', 64), 1)")
    #expect(try database.run("verify").status == 3)
  }

  @Test("store memory: a warning, and no command touches a database")
  func memory() throws {
    for command in [["cleanup"], ["migrate", "up"], ["status"], ["metrics"], ["policy", "set", "batch_size=1"]] {
      let result = try Command.run(
        command + ["--dsn", "host=/nowhere", "--log-format", "json"],
        environment: ["RUNTIME_JAM_STORE": "memory"]
      )
      #expect(result.status == 0 && result.output.isEmpty)
      let line = try #require(objects(result.errorLines).first)
      #expect(line["level"] as? String == "warning" && (line["event"] as? String)?.contains("ephemeral") == true)
    }
  }

  @Test("enabled false: commands that change data say so and change nothing; others work")
  func disabled() throws {
    let database = try CommandDatabase()
    let off = ["RUNTIME_JAM_ENABLED": "false"]
    let result = try database.run("migrate", "up", environment: off)
    #expect(result.status == 0 && result.error.contains("JAM is disabled in the configuration"))
    #expect(result.error.contains("environment variable RUNTIME_JAM_ENABLED"))
    #expect(try database.int("SELECT count(*) FROM pg_class WHERE relname LIKE 'jam%'") == 0)
    try database.succeed("migrate", "up")
    try database.putExpiredBlob()
    for command in [["cleanup"], ["repair"], ["policy", "set", "retention_days=1"]] {
      let variables = off.merging(["RUNTIME_JAM_PG_DSN": database.connectionString]) { $1 }
      let result = try Command.run(command, environment: variables)
      #expect(result.status == 0 && result.error.contains("nothing was done") && result.output.isEmpty)
    }
    #expect(try database.int("SELECT count(*) FROM jam_cleanup_runs") == 0)
    #expect(try database.int("SELECT retention_days FROM jam_retention_policy") == 30)
    #expect(try database.succeed("status", environment: off).output.contains("blobs in db"))
  }

  @Test("migrate up writes the keys that are set to the policy row and logs them; migrate plan announces them")
  func policy() throws {
    let database = try CommandDatabase()
    let folder = try TemporaryFolder()
    let file = try folder.write("node.yaml", "runtime:\n  jam:\n    retention_days: 14\n")
    let planned = try database.succeed("migrate", "plan", "--config", file)
    #expect(planned.output.hasSuffix("policy retention_days: 14 (\(file):3:5)\n"))
    let up = try database.succeed("migrate", "up", "--config", file, "--log-format", "json")
    #expect(up.output.hasSuffix("policy retention_days: 30 → 14 (\(file):3:5)\n"))
    let event = try #require(objects(up.errorLines).last)
    #expect(event["event"] as? String == "policy changed" && event["column"] as? String == "retention_days")
    #expect(event["old"] as? String == "30" && event["new"] as? String == "14")
    #expect(event["source"] as? String == "\(file):3:5")

    let written = try database.int("SELECT xmin::text::bigint FROM jam_retention_policy")
    #expect(try database.succeed("migrate", "up", "--config", file).output == "nothing to do\n")
    #expect(try database.succeed("migrate", "up").output == "nothing to do\n")
    #expect(try database.int("SELECT xmin::text::bigint FROM jam_retention_policy") == written)

    try database.succeed("migrate", "up", "--config", file, "--retention-days", "7", "--retention-dry-run")
    #expect(try database.int("SELECT retention_days FROM jam_retention_policy WHERE dry_run") == 7)
    try database.succeed("migrate", "up", "--no-retention-dry-run")
    #expect(try database.int("SELECT retention_days FROM jam_retention_policy WHERE NOT dry_run") == 7)
  }

  @Test("A configuration with mistakes: exit 1, or 2 where one is in a flag; every mistake, nothing changed")
  func mistakes() throws {
    let database = try CommandDatabase()
    let folder = try TemporaryFolder()
    let file = try folder.write("node.json", #"{"runtime": {"jam": {"retention_dayz": 1, "enabled": 7}}}"#)
    #expect(try database.run("migrate", "up", "--config", file).status == 1)
    let result = try database.run("migrate", "up", "--config", file, "--retention-days", "99999")
    #expect(result.status == 2 && result.errorLines.count == 4)
    #expect(result.error.contains("runtime.jam.retention_dayz (\(file):1:22)") && result.error.contains("did you mean"))
    #expect(result.error.contains("runtime.jam.enabled (\(file):1:43)"))
    #expect(result.error.contains("runtime.jam.retention_days (flag --retention-days): \"99999\""))
    #expect(try database.int("SELECT count(*) FROM pg_class WHERE relname LIKE 'jam%'") == 0)
  }

  @Test("A password is in no output, whether it is right, wrong or part of what cannot be parsed")
  func secrets() throws {
    let database = try CommandDatabase()
    try database.connection.execute(
      "DROP ROLE IF EXISTS alice; CREATE ROLE alice LOGIN SUPERUSER PASSWORD 'Correct-Horse'"
    )
    let asAlice = database.connectionString.replacing("user=postgres", with: "user=alice")
    let right = "\(asAlice) password=Correct-Horse"
    let wrong = "\(asAlice) password=hunter2"
    #expect(try Command.run(["migrate", "up", "--dsn", wrong]).error.contains("password authentication failed"))
    let commands = [["migrate", "up"], ["cleanup"], ["doctor"]]
    for command in commands {
      for dsn in [
        right, wrong, "\(wrong) \"hunter2", "postgres://alice:hunter2@@h/", "postgres://a:hunter2:Correct-Horse@/x",
      ] {
        let result = try Command.run(
          command + ["--dsn", dsn, "--log-level", "trace"],
          environment: ["RUNTIME_JAM_PG_DSN": dsn, "DATABASE_URL": dsn]
        )
        let all = result.output + result.error
        #expect(!all.contains("hunter2") && !all.contains("Correct-Horse"), "\(command)")
        if dsn == right { #expect(result.status != 1, "\(command): \(result.error)") }
      }
    }
  }

  @Test(
    "A connection string in the wrong place is not repeated",
    arguments: ["postgres://alice:hunter2@db/jam", "host=db password=hunter2", "host=db Password = 'hunter2'"]
  )
  func misplacedSecret(dsn: String) throws {
    for arguments in [
      ["status", dsn], ["status", "--dns=\(dsn)"], ["policy", "set", dsn], ["blob", "head", dsn], ["undo", dsn],
      ["generate", "--model", dsn], ["report", "-o", dsn, "--config", dsn], ["cleanup", "--cutoff=\(dsn)", dsn],
    ] {
      for format in ["text", "json"] {
        let result = try Command.run(arguments + ["--log-format", format], environment: ["PGHOST": "/nowhere"])
        #expect([1, 2].contains(result.status) && !result.error.isEmpty)
        #expect(!(result.output + result.error).contains("hunter2"), "\(arguments)")
      }
    }
  }

  @Test("Where the policy has no row, whatever needs it says how to make one")
  func missingPolicy() throws {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    try database.connection.execute("DELETE FROM jam_retention_policy")
    let statement = "INSERT INTO public.jam_retention_policy DEFAULT VALUES"
    for command in [
      ["policy", "show"], ["policy", "set", "batch_size=1"], ["migrate", "up", "--retention-days", "9"],
    ] {
      let result = try Command.run(command, environment: ["RUNTIME_JAM_PG_DSN": database.connectionString])
      #expect(result.status == 1 && result.error.hasSuffix("has no row; for one with the defaults: \(statement)\n"))
    }
    try database.connection.execute("\(raw: statement)")
    try database.succeed("policy", "set", "batch_size=1")
  }

  @Test("--format json and --log-format json: every line is an object")
  func json() throws {
    let database = try CommandDatabase()
    let folder = try TemporaryFolder()
    let commands = [
      ["generate", "--out", folder.path], ["migrate", "plan"], ["migrate", "up", "--retention-days", "29"],
      ["migrate", "status"], ["cleanup", "--dry-run"], ["repair"], ["status"], ["doctor"], ["policy", "show"],
      ["policy", "set", "retention_days=28", "max_duration="], ["cleanup"], ["migrate", "verify", "--schema", "none"],
    ]
    for command in commands {
      if command == ["cleanup", "--dry-run"] { try database.putExpiredBlob() }
      let result = try Command.run(
        command + ["--format", "json", "--log-format", "json", "--log-level", "debug"],
        environment: ["RUNTIME_JAM_PG_DSN": database.connectionString]
      )
      #expect(result.status != 1 && result.status != 2, "\(command): \(result.error)")
      let found = try objects(result.outputLines)
      #expect(!found.isEmpty, "\(command)")
      _ = try objects(result.errorLines)
      if command.first == "cleanup" {
        #expect(found.first?["deleted_preimages"] as? Int == 1)
        let event = try #require(objects(result.errorLines).first { $0["event"] as? String == "cleanup" })
        #expect(event["deleted_preimages"] as? Int == 1 && event["duration_ms"] is Int && event["run_id"] is Int)
        #expect(event["dry_run"] as? Bool == command.contains("--dry-run"))
      }
    }
    try database.connection.execute("INSERT INTO jam_unresolved_references VALUES (repeat('b', 64), 1)")
    let drift = try database.run("verify", "--format", "json")
    #expect(try objects(drift.outputLines).first?["counted"] as? Int == 1 && drift.status == 3)
  }

  @Test("--log-format json: what a command fails with, usage and signals, too, is an event, without secrets")
  func lastLine() throws {
    let store = try CommandStore()
    let folder = try TemporaryFolder()
    let wrong = try folder.write("wrong.yaml", "runtime: {jam: {enabled: 7, store: none}}")
    let model = try folder.write("model.yaml", "tables: 7")
    let failures: [(arguments: [String], status: Int32, event: String, command: String, error: String)] = [
      (["status", "--dsn", "host=/nowhere password=hunter2"], 1, "command failed", "status", "/nowhere"),
      (["status", "--dsn", "password=hunter2 \"hunter2"], 2, "wrong usage", "status", "connection string"),
      (["status", "postgres://a:hunter2@/x"], 2, "wrong usage", "status [redacted]", "'[redacted]'"),
      (["blob", "head", "abc"], 1, "command failed", "blob head abc", "is no hash"),
      (["fsck", "--directory", folder.path], 1, "command failed", "fsck", "is not the directory of a store"),
      (["cleanup", "--config", wrong], 1, "command failed", "cleanup", "runtime.jam.store"),
      (["generate", "--model", model, "--out", folder.path], 1, "command failed", "generate", "\(model):"),
      (["offload", "--limit", "0"], 2, "wrong usage", "offload", "--limit must be"),
    ]
    for failure in failures {
      let result = try store.start(failure.arguments + ["--log-format", "json"]).end()
      let lines = try objects(result.errorLines)
      let line = try #require(lines.last)
      #expect(result.status == failure.status && lines.count == 1, "\(result.error)")
      #expect(line["level"] as? String == "error" && line["event"] as? String == failure.event, "\(line)")
      #expect(line["command"] as? String == failure.command && line["timestamp"] is String, "\(line)")
      #expect((line["error"] as? String)?.contains(failure.error) == true, "\(line)")
      #expect(!result.error.contains("hunter2"))
    }
    #expect(try store.run("blob", "head", "abc", "--log-format=json").error.hasPrefix("{"))
    #expect(try store.run("blob", "head", "abc").error.hasPrefix("jam-retention: \"abc\" is no hash"))
    // After --, it is no option.
    #expect(try store.run("blob", "head", "--", "--log-format=json").error.hasPrefix("jam-retention: "))

    for number in 0..<2 { try store.putInline(Data("\(number)".utf8)) }
    let command = try store.start(["offload", "--min-bytes", "0", "--max-rate", "1", "--log-format", "json"])
    while try store.leases() == 0 {}
    kill(command.processID, SIGINT)
    let stopped = try command.end()
    let line = try #require(objects(stopped.errorLines).last)
    #expect(stopped.status == 130 && line["event"] as? String == "command stopped")
    #expect(line["command"] as? String == "offload" && line["signal"] as? String == "SIGINT")
  }

  @Test("An anomaly that a cleanup records is a warning in the log")
  func anomalies() throws {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    try database.putExpiredBlob()
    try database.connection.execute("INSERT INTO jam_reference_ledger (hash, delta) VALUES (repeat('a', 64), -5)")
    let result = try database.succeed("cleanup", "--log-format", "json")
    let warnings = try objects(result.errorLines).filter { $0["event"] as? String == "refcount anomaly" }
    #expect(warnings.count == 1 && warnings.first?["level"] as? String == "warning")
    #expect(warnings.first?["hash"] as? String == String(repeating: "a", count: 64))
    #expect(warnings.first?["stored"] as? Int == 0 && warnings.first?["delta"] as? Int == -5)
    #expect(try !database.succeed("cleanup").error.contains("anomaly"))
  }

  @Test("A cleanup that fails is logged as an error")
  func failure() throws {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    let result = try database.run("cleanup", "--cutoff", "infinity", "--log-format", "json")
    let event = try #require(
      objects(result.errorLines.filter { $0.hasPrefix("{") }).first { $0["event"] as? String == "cleanup" }
    )
    #expect(event["level"] as? String == "error" && event["status"] as? String == "failed" && result.status == 1)
    #expect((event["error"] as? String)?.contains("22023") == true)
  }

  @Test("One that fails on its way is logged with its number and with what it had deleted")
  func laterFailure() throws {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    try database.putExpiredBlob()
    try database.connection.execute(
      """
      INSERT INTO jam_services (id, owner, code_hash) VALUES ('00000000-0000-0000-0000-000000000001', '', '');
      INSERT INTO jam_work_packages (id, service_id, created_at)
      VALUES (gen_random_uuid(), '00000000-0000-0000-0000-000000000001', now() - interval '60 days');
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
      CREATE TRIGGER refuse BEFORE DELETE ON jam_preimages FOR EACH ROW EXECUTE FUNCTION refuse()
      """
    )
    let result = try database.run("cleanup", "--log-format", "json")
    let event = try #require(objects(result.errorLines).first { $0["event"] as? String == "cleanup" })
    #expect(result.status == 1 && event["level"] as? String == "error" && event["status"] as? String == "failed")
    #expect(event["run_id"] as? Int == 1 && event["deleted_packages"] as? Int == 1)
    #expect(event["deleted_preimages"] as? Int == 0 && (event["error"] as? String)?.contains("not this one") == true)
  }

  @Test(
    "Where no log can be written, a cleanup does its work all the same: a full disk, a reader that has gone",
    arguments: ["exec 2>/dev/full", "mkfifo \"$PIPE\"; exec 3<>\"$PIPE\" 2>\"$PIPE\" 3<&-"]
  )
  func lostLog(shell: String) throws {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    try database.putExpiredBlob()
    let folder = try TemporaryFolder()
    let result = try Command(
      ["cleanup", "--log-level", "debug"],
      environment: ["RUNTIME_JAM_PG_DSN": database.connectionString, "PIPE": "\(folder.path)/pipe"],
      shell: shell
    ).end()
    #expect(result.status == 0 && result.error.isEmpty)
    #expect(try database.int("SELECT deleted_preimages FROM jam_cleanup_runs WHERE status = 'completed'") == 1)
    // What fails is told by its exit code then.
    let failing = try Command(
      ["cleanup", "--cutoff", "infinity"],
      environment: ["RUNTIME_JAM_PG_DSN": database.connectionString, "PIPE": "\(folder.path)/other"],
      shell: shell
    ).end()
    #expect(failing.status == 1)
  }

  @Test("metrics --output replaces the file; a folder that is not there is an error that names it")
  func metrics() throws {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    let folder = try TemporaryFolder()
    let file = try folder.write("jam.prom", "left over")
    #expect(try database.succeed("metrics", "--output", file).output.isEmpty)
    let written = try String(contentsOfFile: file, encoding: .utf8)
    #expect(written.contains("# TYPE jam_cleanup_runs_total counter") && !written.contains("left over"))
    #expect(try folder.names() == ["jam.prom"])
    let failed = try database.run("metrics", "--output", "\(folder.path)/no/jam.prom")
    #expect(failed.status == 1 && failed.error.contains("\(folder.path)/no/jam.prom cannot be written"))
  }

  @Test("status and policy show print aligned columns")
  func forPeople() throws {
    let database = try CommandDatabase()
    try database.succeed("migrate", "up")
    #expect(try database.succeed("status").output.hasSuffix("\n\nno cleanup has run yet\n"))
    try database.putExpiredBlob()
    try database.succeed("cleanup", "--dry-run")
    let lines = try database.succeed("status").outputLines
    #expect(lines.count == 7 && lines[0] == "blobs in db                1, 3 bytes")
    #expect(lines[3] == "objects awaiting deletion  0, 0 bytes" && lines[4].hasPrefix("blob table on disk         "))
    #expect(lines[5].hasPrefix("id  started_at") && lines[6].hasPrefix(" 1  20"))
    let policy = try database.succeed("policy", "show").outputLines
    #expect(policy.contains("retention_days            30") && policy.contains("dry_run                   no"))
  }
}
