import Foundation
import TestSupport
import Testing

@Suite struct MoveCommandTests {
  /// A store with so many rows of 1000 bytes.
  private func store(_ count: Int) throws -> CommandStore {
    let store = try CommandStore()
    for number in 0..<count { try store.putInline(Data("\(number)".utf8) + Data(count: 1000 - "\(number)".count)) }
    return store
  }

  @Test("offload, fsck, restore and sweep tell people what they did")
  func text() throws {
    let store = try store(3)
    #expect(try store.succeed("offload").output == "moved 0 blobs, 0 B\n")
    let offload = try store.succeed("offload", "--min-bytes", "0")
    #expect(offload.outputLines.first == "moved 3 blobs, 3.00 kB" && offload.outputLines.count == 2)
    #expect(offload.output.contains("VACUUM"))
    #expect(try store.succeed("fsck").output == "3 objects, 3.00 kB; 3 blobs; 0 findings\n")
    #expect(try store.succeed("fsck", "--deep", "--repair").output.hasSuffix("0 findings; 0 queued for deletion\n"))
    #expect(try store.succeed("restore", "--limit", "2").output == "moved 2 blobs, 2.00 kB\n")
    #expect(try store.inline() == 2 && store.external() == 1)
    #expect(try store.succeed("sweep", "--dry-run").output == "would delete 2 objects, 2.00 kB\n")
    #expect(try store.names().count == 3)
    #expect(
      try store.succeed("sweep", "--limit", "1").output == "deleted 1 object, 1.00 kB; 1 left for a later attempt\n"
    )
    #expect(try store.succeed("sweep").output == "deleted 1 object, 1.00 kB\n")
    #expect(try store.names().count == 1)
  }

  @Test("The same as JSON")
  func json() throws {
    let store = try store(3)
    let dry = try store.json("offload", "--min-bytes", "999", "--dry-run", "--limit", "2")
    #expect(dry["moved"] as? Int == 2 && dry["bytes"] as? Int == 2000 && dry["dry_run"] as? Bool == true)
    #expect(try store.inline() == 3 && store.names() == [])
    #expect(try store.json("offload", "--min-bytes", "1000", "--dry-run")["moved"] as? Int == 0)
    let result = try store.start(["offload", "--min-bytes", "0", "--limit", "2", "--format", "json"]).end()
    let lines = try objects(result.outputLines)
    #expect(lines[0]["moved"] as? Int == 2 && lines[0]["failed"] as? Int == 0 && lines[0]["dry_run"] as? Bool == false)
    #expect(lines[1]["kind"] as? String == "space" && lines[1]["table_bytes"] is Int && lines.count == 2)
    #expect(try store.external() == 2)
    let fsck = try store.json("fsck")
    #expect(fsck["kind"] as? String == "summary" && fsck["objects"] as? Int == 2 && fsck["findings"] as? Int == 0)
    #expect(try store.json("restore", "--dry-run")["moved"] as? Int == 2)
    #expect(try store.json("restore")["moved"] as? Int == 2)
    #expect(try store.json("sweep", "--dry-run")["deleted"] as? Int == 2)
    let sweep = try store.json("sweep")
    #expect(sweep["deleted"] as? Int == 2 && sweep["bytes"] as? Int == 2000 && sweep["error"] is NSNull)
  }

  @Test("Exit codes: a blob that cannot be moved 1, findings 3, wrong arguments 2")
  func exitCodes() throws {
    let store = try store(2)
    try store.database.connection.execute(
      "INSERT INTO jam_preimages (hash, size, data) VALUES (repeat('a', 64), 3, 'abc')"
    )
    let failed = try store.run("offload", "--min-bytes", "0", "--log-format", "json")
    #expect(failed.status == 1 && failed.outputLines.first == "moved 2 blobs, 2.00 kB, 1 failed: see the log")
    let event = try #require(objects(failed.errorLines.filter { $0.hasPrefix("{") }).first)
    #expect(
      event["event"] as? String == "blob not moved" && event["hash"] as? String == String(repeating: "a", count: 64)
    )

    #expect(try store.run("fsck").status == 0)
    let name = try #require(store.names().first)
    try FileManager.default.removeItem(atPath: "\(store.directory)/objects/\(name)")
    let missing = try store.run("fsck")
    #expect(missing.status == 3 && missing.output.hasPrefix("missing: preimages/") && missing.outputLines.count == 2)
    let finding = try #require(objects(store.run("fsck", "--format", "json").outputLines).first)
    #expect(finding["kind"] as? String == "missing" && finding["size"] as? Int == 1000)
    let restore = try store.run("restore")
    #expect(restore.status == 1 && restore.output == "moved 1 blob, 1.00 kB, 1 failed: see the log\n")

    let orphan = Data("nobody's".utf8)
    try orphan.write(to: store.file(orphan.digest))
    try Data().write(to: store.file("readme.txt"))
    #expect(try store.run("fsck").output.contains("foreign: preimages/readme.txt, 0 bytes"))
    let found = try store.run("fsck", "--grace", "0")
    #expect(found.status == 3 && found.output.contains("orphaned: preimages/\(orphan.digest), 8 bytes"))

    for arguments in [
      ["offload", "--concurrency", "0"], ["offload", "--concurrency", "65"], ["offload", "--max-rate", "0"],
      ["restore", "--limit", "0"], ["sweep", "--limit", "-1"], ["fsck", "--grace", "-1"], ["blob", "get"],
    ] { #expect(try store.start(arguments).end().status == 2, "\(arguments)") }
  }

  @Test("No object store, two of them, and a directory that is none: exit 1, and what to do")
  func configuration() throws {
    let store = try store(1)
    let dsn = ["RUNTIME_JAM_PG_DSN": store.database.connectionString]
    for command in [
      ["offload"], ["restore"], ["sweep"], ["fsck"], ["blob", "put", "/dev/null", "--storage-class", "s3"],
    ] {
      let none = try Command.run(command, environment: dsn)
      #expect(none.status == 1 && none.error.contains("no object store is configured"), "\(command)")
      #expect(none.error.contains("--bucket") && none.error.contains("--directory"))
      let both = try Command.run(command + ["--directory", "/a", "--bucket", "b"], environment: dsn)
      #expect(both.status == 1 && both.error.contains("give one of them"))
    }
    let folder = try TemporaryFolder()
    let result = try Command.run(["offload", "--min-bytes", "0", "--directory", folder.path], environment: dsn)
    #expect(result.status == 1 && result.error.contains("\(folder.path) is not the directory of a store"))
    #expect(try store.inline() == 1 && store.leases() == 0)
    // A blob that is in its row needs none.
    let hash = try store.database.connection.query("SELECT hash FROM jam_preimages").first?.string("hash")
    #expect(try Command.run(["blob", "get", try #require(hash)], environment: dsn).status == 0)
  }

  @Test(
    "Not faster than --max-rate; a signal leaves nothing half, and the next run goes on",
    arguments: [SIGINT, SIGTERM]
  )
  func interruption(signal: Int32) throws {
    let store = try store(5)
    // The first blob passes at once, and the next one would have to wait for a quarter of an hour.
    let command = try store.start(["offload", "--min-bytes", "0", "--max-rate", "1"])
    while try store.names().isEmpty {}
    kill(command.processID, signal)
    let result = try command.end()
    #expect(result.status == 128 + signal)
    #expect(result.error.contains("offload was stopped by \(signal == SIGINT ? "SIGINT" : "SIGTERM")"))
    #expect(try store.leases() == 0 && store.external() == 1 && store.inline() == 4)
    #expect(try store.names().count == 1 && store.names("uploads") == [])
    #expect(try store.succeed("offload", "--min-bytes", "0").output.hasPrefix("moved 4 blobs"))
    #expect(
      try store.succeed("fsck", "--deep", "--grace", "0").output.contains("5 objects, 5.00 kB; 5 blobs; 0 findings")
    )
  }

  @Test("Two offloads at once move every blob once")
  func twoAtOnce() throws {
    let store = try store(60)
    let commands = try (0..<2).map { _ in
      try store.start(["offload", "--min-bytes", "0", "--concurrency", "2", "--format", "json"])
    }
    let results = try commands.map { try $0.end() }
    #expect(results.map(\.status) == [0, 0], "\(results.map(\.error))")
    let moved = try results.map { try objects($0.outputLines).first?["moved"] as? Int ?? 0 }
    #expect(try moved.reduce(0, +) == 60 && store.external() == 60 && store.leases() == 0)
    #expect(try store.succeed("fsck", "--deep").output.contains("60 objects"))
    try store.succeed("sweep")
    #expect(try store.succeed("fsck").output.contains("60 objects, 60.0 kB; 60 blobs; 0 findings"))
  }
}
