import EmbeddedPostgres
import EmbeddedSeaweed
import Foundation
import Postgres
import RetentionRunner
import SafeSQL
import Synchronization
import Testing

@testable import ObjectStore

/// The program and the server are killed in the middle of everything that moves blobs: `make blob-kills`.
@Suite(.serialized) struct BlobKillTests {
  private static let kills = ProcessInfo.processInfo.environment["JAM_BLOB_KILLS"].flatMap(Int.init) ?? 4
  private static let hasSeaweed = (try? EmbeddedSeaweed.locate()) != nil

  @Test("Killed at random moments, with a directory: every blob is readable, nothing is left over")
  func directory() async throws {
    try await withDirectoryStore { objects in
      try await run(objects, kills: Self.kills, arguments: ["--directory", objects.directory])
    }
  }

  @Test("The same with SeaweedFS", .enabled(if: hasSeaweed, "SeaweedFS is not installed (make test-deps)"))
  func seaweed() async throws {
    let seaweed = try await EmbeddedSeaweed.start()
    defer { seaweed.stop() }
    let client = try S3Client(seaweed.configuration(bucket: "kills"))
    try await client.createBucket()
    // Arguments can be seen by everybody, so the program takes no secret there.
    let credentials = "\(seaweed.directory)/credentials"
    let text = """
      [default]
      aws_access_key_id = \(seaweed.credentials.accessKeyID)
      aws_secret_access_key = \(seaweed.credentials.secretAccessKey.text)
      """
    try Data(text.utf8).write(to: URL(filePath: credentials))
    try await run(
      client,
      kills: max(1, Self.kills / 4),
      arguments: ["--endpoint", seaweed.endpoint, "--bucket", "kills", "--credentials-file", credentials]
    )
  }

  private func run(_ objects: any ObjectStore, kills: Int, arguments: [String]) async throws {
    let server = try EmbeddedPostgres.start(settings: ["fsync": "on"])
    defer { server.stop() }
    let database = try TestDatabase(on: server)
    _ = try database.migrate()
    try database.retention.setPolicy("offload_threshold_bytes", to: "1000")
    let seed = ProcessInfo.processInfo.environment["JAM_SEED"].flatMap(UInt64.init) ?? .random(in: 0..<1 << 48)
    var random = SeededGenerator(seed: seed)
    let contents = (0..<40).map { Data.random(100 << ($0 % 10), using: &random) }
    let workload = Workload(database: database)
    for client in 0..<3 { workload.start(blobs: contents, seed: seed &+ UInt64(client)) }
    workload.start { connection in _ = try connection.query("CALL jam_cleanup(cutoff => now())") }

    let folder = FileManager.default.temporaryDirectory.appending(path: "jam-kills-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (number, content) in contents.enumerated() { try content.write(to: URL(filePath: "\(folder)/\(number)")) }
    let programs = ProgramLoops(arguments: ["--dsn", database.connectionString] + arguments, directory: folder)
    let fileNumber = Mutex(0)
    programs.start { ["offload", "--concurrency", "2", "--quiet"] }
    programs.start { ["restore", "--concurrency", "2", "--quiet", "--limit", "10"] }
    programs.start { ["sweep", "--quiet"] }
    programs.start {
      let number = fileNumber.withLock { number in
        number = (number + 7) % contents.count
        return number
      }
      return ["blob", "put", "--quiet", "--storage-class", "s3", "\(number)"]
    }

    let store = database.blobStore(objects)
    for kill in 1...kills {
      workload.wait(forEvents: Int.random(in: 1...60, using: &random))
      if Int.random(in: 0..<4, using: &random) == 0 {
        server.killHard()
        try server.restart()
      } else {
        programs.killOne(using: &random)
      }
      // Everybody goes on meanwhile.
      let unreadable = await unreadable(Array(contents.shuffled(using: &random).prefix(8)), in: store)
      #expect(unreadable == [], "seed \(seed), kill \(kill)")
    }
    programs.stop()
    workload.stop()

    // The test's own session may have gone with the server.
    let observer = try database.connect()
    func count(_ rows: SQL) throws -> Int {
      try observer.query("SELECT count(*) AS n FROM \(rows)").first?.int("n") ?? -1
    }
    try observer.execute(
      "UPDATE jam_blob_uploads SET expires_at = now(); UPDATE jam_blob_deletions SET next_attempt_at = now()"
    )
    #expect(try await store.sweep().failed == 0)
    var options = BlobStore.FsckOptions()
    options.repairs = true
    options.graceSeconds = -60
    var findings: [FsckFinding] = []
    let fsck = try await store.fsck(options) { findings.append($0) }
    #expect(findings.allSatisfy { $0.kind == .orphaned }, "seed \(seed): \(findings)")
    #expect(try await store.sweep().failed == 0)
    options.isDeep = true
    findings = []
    _ = try await store.fsck(options) { findings.append($0) }
    #expect(findings == [], "seed \(seed)")
    #expect(await unreadable(contents, in: store) == [], "seed \(seed)")
    #expect(try count("jam_blob_uploads") == 0)
    #expect(try count("jam_blob_deletions") == 0)
    #expect(try count("jam_verify_refcounts()") == 0)
    #expect(
      try count(
        "jam_references AS r WHERE r.hash <> '' AND NOT EXISTS (SELECT FROM jam_preimages AS b WHERE b.hash = r.hash)"
      ) == 0
    )
    #expect(programs.unexpected == [:], "seed \(seed)")
    #expect(
      workload.current.failures.keys.allSatisfy { failure in
        ["connection", "57P01", "57P02", "57P03"].contains { failure.contains($0) }
      },
      "\(workload.current.failures)"
    )
    print(
      "blob kills: seed \(seed), \(kills) kills (\(programs.killed) of a program), \(programs.completed) programs came to their end, \(workload.current.events) transactions, \(fsck.queued) orphans repaired"
    )
  }

  /// What a reader does not get that should, and why.
  private func unreadable(_ contents: [Data], in store: BlobStore) async -> [String] {
    var failures: [String] = []
    for content in contents {
      do {
        var found = Data()
        try await store.read(content.digest) { found.append(contentsOf: $0.readableBytesView) }
        if found != content { failures.append("\(content.digest): another content") }
      } catch let error as RunnerError {
        // A cleanup may take it at any moment.
        let isGone = ["there is no blob", "was deleted while"].contains(where: error.description.contains)
        if !isGone { failures.append("\(error)") }
      } catch {
        failures.append("\(error)")
      }
    }
    return failures
  }
}
