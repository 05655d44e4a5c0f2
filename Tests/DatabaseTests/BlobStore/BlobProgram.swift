import Foundation
import NIOCore
import ObjectStore
import Postgres
import RetentionRunner

/// A random program over a few blobs: the runner's own commands, clients that use the functions by themselves and stop
/// anywhere, and an ``UnreliableStore``, in whose requests further steps happen.
///
/// After every step each blob that has a row has its content; at the end nothing else is left.
actor BlobProgram {
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// An upload of a client of its own, between its begin and its end.
  private struct Upload {
    var isWritten = false
    let id: Int
    let objectKey: String
    let content: Data
  }

  /// A deletion of a sweeper of its own, between its claim and its end.
  private struct Deletion {
    let id: Int
    let objectKey: String
  }

  private static let grace = -60.0

  private let test: TestBlobStore
  private let base: DirectoryStore
  private let store: UnreliableStore
  private let fate: Fate
  private let contents: [Data]
  /// Whether only clients and sweepers of their own are at work, on one blob: these meet more often, and cost less.
  private let isOfClients: Bool
  /// Whether cleanups archive what they delete, and are undone or purged.
  private let archives: Bool
  private var uploads: [Upload] = []
  private var deletions: [Deletion] = []
  private var failure: (any Error)?
  /// What was done, for whoever looks into a failure.
  private(set) var trace: [String] = []

  init(seed: UInt64, database: TestDatabase, base: DirectoryStore, archives: Bool = false) {
    self.archives = archives
    fate = Fate(seed: seed)
    self.base = base
    store = UnreliableStore(base: base, fate: fate)
    test = TestBlobStore(database: database, objects: store)
    isOfClients = seed % 4 != 0
    contents = (0..<(isOfClients ? 1 : 2)).map { Data(String(repeating: "\(seed) \($0) ", count: 1 + 40 * $0).utf8) }
  }

  func run() async throws {
    try test.database.empty()
    try test.database.connection.execute(
      "UPDATE jam_retention_policy SET dry_run = false, archive_days = \(archives ? 30 : 0)"
    )
    await fate.mayHappen { [weak self] in await self?.interrupt() }
    for _ in 0..<(isOfClients ? 60 : 24) {
      try await step()
      if let failure { throw failure }
    }
    try await finish()
  }

  private func interrupt() async {
    guard failure == nil else { return }
    do { try await step() } catch { failure = error }
  }

  private func step() async throws {
    let content = contents[await fate.number(below: contents.count)]
    if archives, await fate.number(below: 4) == 0 {
      try archive(await fate.number(below: 5))
      return try await check()
    }
    let choice = isOfClients ? 45 + (await fate.number(below: 62)) : await fate.number(below: 100)
    trace.append("\(choice) \(content.digest.prefix(4))")
    do {
      try await act(choice, content)
    } catch let error as ObjectStoreError where error.message == "the test says so" {
      trace.append("\(choice) failed: \(error.operation)")
    }
    try await check()
  }

  private func act(_ choice: Int, _ content: Data) async throws {
    let database = test.database
    switch choice {
    case 0..<4:
      _ = try await test.store.put(
        ObjectContent(ByteBuffer(bytes: content)),
        mediaType: "",
        uploader: "",
        usesObjectStore: true
      )
    case 4..<8: try test.putInline(content)
    case 8..<15: _ = try await test.store.offload(Self.moves)
    case 15..<18: _ = try await test.store.restore(Self.moves)
    case 18..<32: _ = try database.connection.query("CALL jam_cleanup(cutoff => now())")
    case 32..<37: _ = try await test.store.sweep()
    case 37..<39: _ = try await repair()
    case 39..<42: try await submit(content)
    case 42..<45: try database.connection.execute("DELETE FROM jam_work_packages")
    case 45..<48: try database.connection.execute("UPDATE jam_blob_uploads SET expires_at = now()")
    case 48..<52: try database.connection.execute("UPDATE jam_blob_deletions SET next_attempt_at = now()")
    case 52..<54: try await read(content)
    case 54..<58:
      if let late = await fate.latecomer() { try await store.carryOut(late) }
    case 58..<68: try begin(content)
    case 68..<80: try await end()
    case 80..<90: try claim()
    case 90..<100: try await delete()
    default: _ = try database.connection.query("DELETE FROM jam_preimages WHERE hash = $1", content.digest)
    }
  }

  /// Archives, undoes or purges.
  private func archive(_ choice: Int) throws {
    trace.append("archive \(choice)")
    let database = test.database
    switch choice {
    case 0..<2: _ = try database.connection.query("CALL jam_cleanup(cutoff => now(), dry_run => false)")
    case 2..<4:
      let runs = try database.connection.query("SELECT run_id FROM jam_archive ORDER BY run_id").rows
      guard let run = choice == 2 ? runs.first : runs.last else { return }
      let conflicts = try database.connection.query("SELECT * FROM jam_undo_cleanup($1)", try run.int("run_id")).rows
      guard conflicts.isEmpty else { throw Failure(description: "an undo leaves \(conflicts)") }
    default:
      try database.connection.execute("UPDATE jam_archive SET archived_at = archived_at - interval '20 days'")
      _ = try database.connection.query("CALL jam_cleanup(cutoff => '-infinity', dry_run => false)")
    }
  }

  private static var moves: MoveOptions {
    var options = MoveOptions()
    options.concurrency = 1
    options.minimumBytes = -1
    return options
  }

  private func repair() async throws -> [FsckFinding] {
    var options = BlobStore.FsckOptions()
    options.repairs = true
    options.graceSeconds = Self.grace
    let findings = try await test.fsck(options)
    // What moves meanwhile is no finding; what is missing would have been found by the check.
    if let alarm = findings.first(where: \.isAlarming) { throw Failure(description: "fsck: \(alarm)") }
    return findings
  }

  /// As a client does: makes sure of its blob in the same transaction.
  private func submit(_ content: Data) async throws {
    let connection = test.database.connection
    try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    if try connection.query("SELECT jam_touch_preimages(ARRAY[$1])", content.digest).first != nil {
      try test.putInline(content)
    }
    try test.database.submit([content.digest], age: "-1 days")
    try connection.execute("COMMIT")
  }

  private func read(_ content: Data) async throws {
    do {
      guard try await test.read(content.digest) == content else {
        throw Failure(description: "another content is read")
      }
    } catch let error as RunnerError {
      // A cleanup may take it at any moment.
      let isGone = ["there is no blob", "was deleted while"].contains(where: error.description.contains)
      guard isGone else { throw error }
    }
  }

  // MARK: Clients that use the functions by themselves

  private func begin(_ content: Data) throws {
    let row = try test.database.connection.query(
      "SELECT outcome, upload_id, object_key FROM jam_blob_upload_begin($1, $2::bigint)",
      content.digest,
      content.count
    ).first
    guard let row, row["outcome"] == "upload" else { return }
    uploads.append(Upload(id: try row.int("upload_id"), objectKey: try row.string("object_key"), content: content))
  }

  private func end() async throws {
    guard !uploads.isEmpty else { return }
    let index = await fate.number(below: uploads.count)
    let isAborted = await fate.number(below: 4) == 0
    // Nothing is awaited from here on before it is taken out: another step may end uploads, too.
    guard index < uploads.count else { return }
    var upload = uploads.remove(at: index)
    if isAborted {
      _ = try test.database.connection.query("SELECT jam_blob_upload_abort(ARRAY[$1::bigint])", upload.id)
    } else if upload.isWritten {
      _ = try test.database.connection.query("SELECT jam_blob_upload_complete(ARRAY[$1::bigint])", upload.id)
    } else {
      let content = ObjectContent(ByteBuffer(bytes: upload.content))
      try await store.put("preimages/\(upload.objectKey)", content, contentType: "")
      upload.isWritten = true
      uploads.append(upload)
    }
  }

  private func claim() throws {
    for row in try test.database.connection.query("SELECT deletion_id, object_key FROM jam_blob_deletions_claim(2)")
      .rows
    {
      deletions.append(Deletion(id: try row.int("deletion_id"), objectKey: try row.string("object_key")))
    }
  }

  private func delete() async throws {
    guard !deletions.isEmpty else { return }
    let index = await fate.number(below: deletions.count)
    guard index < deletions.count else { return }
    let deletion = deletions.remove(at: index)
    let failures = try await store.delete(["preimages/\(deletion.objectKey)"])
    let function =
      failures.isEmpty ? "jam_blob_deletions_done($1::bigint[])" : "jam_blob_deletions_failed($1::bigint[], '')"
    _ = try test.database.connection.query("SELECT \(raw: function)", [deletion.id])
  }

  // MARK: Comparisons

  /// Every blob that has a row has its content, and every reference has its blob.
  private func check() async throws {
    let rows = try test.database.connection.query(
      """
      SELECT l.hash, l.object_key, b.data IS NULL AS is_empty,
        b.hash = encode(sha256(b.data), 'hex') AS is_right
      FROM jam_blob_locations AS l JOIN jam_preimages AS b ON b.hash = l.hash
      """
    )
    for row in rows.rows {
      let hash = try row.string("hash")
      guard let objectKey = row["object_key"] else {
        guard try row.optionalBool("is_right") == true else {
          throw Failure(description: "\(hash) has lost its content")
        }
        continue
      }
      guard try row.bool("is_empty") else { throw Failure(description: "\(hash) is in two places") }
      do {
        var found = Data()
        for try await piece in try await base.get("preimages/\(objectKey)").body {
          found.append(contentsOf: piece.readableBytesView)
        }
        guard found.digest == hash else { throw Failure(description: "\(objectKey) has another content") }
      } catch let error as ObjectStoreError {
        throw Failure(description: "\(hash) is lost: \(error)")
      }
    }
    // What an undo would bring back.
    let archived = try test.database.connection.query(
      "SELECT hash, object_key FROM jam_blob_needed_objects EXCEPT SELECT hash, object_key FROM jam_blob_locations"
    )
    for row in archived.rows {
      let objectKey = try row.string("object_key")
      guard try await base.head("preimages/\(objectKey)") != nil else {
        throw Failure(description: "the archived object \(objectKey) is lost")
      }
    }
    let lost = try test.database.int(
      """
      SELECT count(*) FROM jam_work_packages AS p CROSS JOIN unnest(p.preimage_hashes) AS n (hash)
      WHERE NOT EXISTS (SELECT FROM jam_preimages AS b WHERE b.hash = n.hash)
      """
    )
    guard lost == 0 else { throw Failure(description: "\(lost) references have no blob") }
  }

  /// All clients are gone, and what they have left comes to its end.
  private func finish() async throws {
    await fate.end()
    while let late = await fate.latecomer() {
      try await store.carryOut(late)
      try await check()
    }
    let connection = test.database.connection
    try connection.execute(
      "UPDATE jam_blob_uploads SET expires_at = now(); UPDATE jam_blob_deletions SET next_attempt_at = now()"
    )
    _ = try await test.store.sweep()
    _ = try await repair()
    _ = try await test.store.sweep()
    try await check()
    let findings = try await test.fsck()
    guard findings.isEmpty else { throw Failure(description: "at the end: \(findings)") }
    let expected = try connection.query("SELECT DISTINCT object_key FROM jam_blob_needed_objects").rows
      .map { try $0.string("object_key") }
    let names = try await test.names()
    guard names.sorted() == expected.sorted() else {
      throw Failure(description: "at the end there are the objects \(names), not \(expected)")
    }
    let open = try test.database.int(
      "SELECT (SELECT count(*) FROM jam_blob_uploads) + (SELECT count(*) FROM jam_blob_deletions)"
    )
    guard open == 0 else { throw Failure(description: "\(open) uploads or deletions are left") }
    let drift = try test.database.retention.verify().rows
    guard drift.isEmpty else { throw Failure(description: "the law is broken: \(drift)") }
  }
}

extension TestDatabase {
  /// Takes all rows out but the policy's. The role replica fires no trigger; TRUNCATE takes longer for so little.
  func empty() throws {
    try connection.execute(
      """
      SET session_replication_role = replica;
      DELETE FROM jam_preimages; DELETE FROM jam_preimage_puts; DELETE FROM jam_work_packages; DELETE FROM jam_services;
      DELETE FROM jam_reference_ledger; DELETE FROM jam_unresolved_references; DELETE FROM jam_storage_ledger;
      DELETE FROM jam_blob_uploads; DELETE FROM jam_blob_deletions; DELETE FROM jam_blob_objects;
      DELETE FROM jam_cleanup_runs; DELETE FROM jam_archive; DELETE FROM jam_archived_preimages; DELETE FROM jam_archived_packages;
      SET session_replication_role = DEFAULT
      """
    )
  }
}
