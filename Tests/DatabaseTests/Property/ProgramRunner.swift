import EmbeddedPostgres
import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL

/// Runs a program against a database, and compares the database with the oracle.
///
/// One step after the other, so that a program means the same each time. A step that would have to wait for another
/// session (two puts of one blob, a change of a row that is being deleted, a cleanup beside a fold that has not
/// committed) is left out: waiting is the client's own doing there, and the isolation specs look at it.
final class ProgramRunner {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  static let window = 30
  private static let service = "00000000-0000-0000-0000-000000000001"

  private let database: TestDatabase
  private let server: EmbeddedPostgres?
  private let triggers: String
  private var observer: Connection
  private var sessions: [Connection]
  private var oracle = Oracle()
  private var isImmediate: Bool { database.model.refcounting == .immediate }
  /// How many steps were not left out.
  private(set) var stepsRun = 0

  /// - Parameters:
  ///   - server: the server to kill where a program says so.
  ///   - files: what was installed; default: what the model yields.
  init(database: TestDatabase, server: EmbeddedPostgres? = nil, files: [MigrationFile]? = nil) throws {
    self.database = database
    self.server = server
    let files = files ?? MigrationGenerator.files(for: database.model)
    triggers = files.first { $0.path == "050_triggers.sql" }?.text ?? ""
    observer = try database.connect()
    sessions = try (0..<Program.sessions).map { _ in try database.connect() }
  }

  /// Runs the whole program on empty tables.
  ///
  /// - Throws: ``Failure`` when database and oracle differ, or a statement fails that must not.
  func run(_ program: Program) throws {
    for session in sessions.indices { try reconnect(session) }
    oracle = Oracle()
    wasFresh = []
    archived = []
    archiveDays = 0
    try observer.execute(
      """
      TRUNCATE jam_services, jam_preimages, jam_reference_ledger, jam_unresolved_references, jam_preimage_puts, jam_storage_ledger CASCADE;
      TRUNCATE jam_archive, jam_archived_reports, jam_archived_attestations, jam_archived_packages, jam_archived_items, jam_archived_preimages;
      UPDATE jam_retention_policy SET archive_days = 0, dry_run = false;
      DELETE FROM jam_reference_ledger; DELETE FROM jam_storage_ledger;
      """
    )
    try insertService()
    for (number, step) in program.steps.enumerated() {
      do {
        try run(step)
      } catch {
        throw Failure(description: "step \(number), \(step): \(error)")
      }
    }
    try finish()
  }

  private func insertService() throws {
    try observer.execute(
      "INSERT INTO jam_services (id, owner, code_hash) VALUES (\(literal: Self.service)::uuid, '', '') ON CONFLICT DO NOTHING"
    )
  }

  private func reconnect(_ session: Int) throws {
    sessions[session].close()
    sessions[session] = try database.connect()
    oracle.end(session, commit: false)
  }

  // MARK: Steps

  private func run(_ step: Step) throws {
    let session = step.session
    let connection = sessions[session]
    let transaction = oracle.transactions[session]
    let isAlone = oracle.transactions.isEmpty
    stepsRun += 1
    switch step.operation {
    case .begin(let level) where transaction == nil:
      try connection.execute("BEGIN ISOLATION LEVEL \(raw: level.rawValue)")
      // The snapshot is taken here, so that it means the same whatever comes next.
      try connection.execute("SELECT FROM jam_services")
      oracle.transactions[session] = Oracle.Transaction(level: level)
    case .commit where transaction != nil:
      try connection.execute("COMMIT")
      oracle.end(session, commit: true)
    case .rollback where transaction != nil:
      try connection.execute("ROLLBACK")
      oracle.end(session, commit: false)
    case .savepoint where transaction != nil:
      try connection.execute("SAVEPOINT s")
      oracle.transactions[session]?.savepoint = transaction?.changes.count
    case .rollbackToSavepoint where transaction?.savepoint != nil:
      try connection.execute("ROLLBACK TO SAVEPOINT s")
      let kept = transaction?.changes.prefix(transaction?.savepoint ?? 0)
      oracle.transactions[session]?.changes = kept.map(Array.init) ?? []
    case .submit(let packages, let age):
      try submit(packages, age: age, by: session)
    case .addItem(let pick, let hashes):
      guard let id = package(pick, for: session) else { return }
      _ = try connection.query(
        "INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes) VALUES (gen_random_uuid(), $1::uuid, '', '', $2::text[])",
        uuid(id),
        hashes.map(hash)
      )
      change(.item(id, hashes), of: id, naming: hashes, by: session)
    case .addReport(let pick, let hashes, let age):
      guard let id = package(pick, for: session) else { return }
      _ = try connection.query(
        """
        INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, refine_output_compact, created_at)
        VALUES (gen_random_uuid(), $1::uuid, $2::uuid, '', convert_to($3, 'UTF8'), now() - make_interval(days => $4::integer))
        """,
        uuid(id),
        Self.service,
        hashes.map(hash).joined(separator: "\n"),
        age
      )
      change(.report(id, .init(hashes: hashes, age: age)), of: id, naming: hashes, by: session)
    case .changeReferences(let pick, let hashes):
      guard let id = package(pick, for: session) else { return }
      _ = try connection.query(
        "UPDATE jam_work_packages SET preimage_hashes = $2::text[] WHERE id = $1::uuid",
        uuid(id),
        hashes.map(hash)
      )
      let before = oracle.visible(to: session).packages[id]?.hashes ?? []
      change(.packageHashes(id, hashes), of: id, naming: hashes + before, by: session)
    case .changeStatus(let pick):
      guard let id = package(pick, for: session) else { return }
      _ = try connection.query("UPDATE jam_work_packages SET status = status || '.' WHERE id = $1::uuid", uuid(id))
      oracle.transactions[session]?.heldPackages.insert(id)
    case .deletePackage(let pick):
      guard let id = package(pick, for: session) else { return }
      let named = oracle.visible(to: session).packages[id]?.references ?? []
      _ = try connection.query("DELETE FROM jam_work_packages WHERE id = $1::uuid", uuid(id))
      change(.packageGone(id), of: id, naming: named, by: session)
    case .setServiceCode(let code):
      guard transaction == nil || transaction?.level == .readCommitted,
        !oracle.others(than: session).contains(where: \.holdsCode)
      else { return }
      let before = oracle.visible(to: session).code
      _ = try connection.query("UPDATE jam_services SET code_hash = $1", hash(code))
      oracle.record(.code(code), by: session)
      oracle.transactions[session]?.holdsCode = true
      hold([code] + [before].compactMap { $0 }, by: session)
    case .put(let blob, let age):
      try put(blob, age: age, by: session)
    case .touch(let hashes):
      try touch(hashes, by: session)
    case .deleteBlob(let blob) where transaction == nil:
      try delete(blob, by: session)
    case .truncate(let level, let everything) where isAlone:
      try truncate(level, everything: everything, by: session)
    case .fold where transaction == nil || transaction?.level == .readCommitted:
      _ = try connection.query("SELECT jam_fold_references()")
      oracle.transactions[session]?.hasFolded = true
    case .repair where transaction == nil && !oracle.transactions.contains { $0.value.hasFolded }:
      let corrected = try connection.query("SELECT jam_repair_refcounts() AS n").first?.int("n")
      guard corrected == 0 else { throw Failure(description: "repair corrected \(corrected ?? -1) counts") }
    case .cleanup where transaction == nil && !oracle.transactions.contains { $0.value.hasFolded }:
      try cleanUp(by: session)
    case .archive(let days) where transaction == nil:
      _ = try connection.query("UPDATE jam_retention_policy SET archive_days = $1::integer", days)
      archiveDays = days
    case .undo(let pick) where transaction == nil && !archived.isEmpty:
      try undo(pick % archived.count, by: session)
    case .reapplyTriggers where isAlone:
      try connection.execute("\(raw: triggers)")
    case .kill:
      try terminate(session)
    case .crash:
      try crash()
    case .check:
      try check()
    default:
      stepsRun -= 1
    }
  }

  private func submit(_ packages: [[Int]], age: Int, by session: Int) throws {
    let ids = packages.map { _ in oracle.newPackage() }
    let arrays = packages.map { "{\($0.map(hash).joined(separator: ","))}" }
    _ = try sessions[session].query(
      """
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes, created_at)
      SELECT p.id, $1::uuid, p.hashes::text[], now() - make_interval(days => $2::integer)
      FROM unnest($3::uuid[], $4::text[]) AS p (id, hashes)
      """,
      Self.service,
      age,
      ids.map(uuid),
      arrays
    )
    for (id, hashes) in zip(ids, packages) {
      oracle.record(.newPackage(id, Oracle.Package(hashes: hashes, age: age)), by: session)
      oracle.transactions[session]?.own.insert(id)
      oracle.transactions[session]?.heldPackages.insert(id)
    }
    hold(packages.flatMap { $0 }, by: session)
  }

  private func put(_ blob: Int, age: Int, by session: Int) throws {
    let transaction = oracle.transactions[session]
    let existing = oracle.visible(to: session).blobs[blob]
    let isHeld = oracle.others(than: session).contains { $0.heldBlobs.contains(blob) || $0.hasFolded }
    // An old snapshot may not see the blob: its upsert fails with 40001, with or without counting.
    let isOld = transaction.map { $0.level != .readCommitted } ?? false
    guard !isHeld, !isOld || existing == nil, transaction?.level != .serializable else { return }
    _ = try sessions[session].query(
      """
      INSERT INTO jam_preimages (hash, size, data, created_at, refcount)
      VALUES ($1, 3, 'abc', now() - make_interval(days => $2::integer), 1)
      ON CONFLICT (hash) DO UPDATE SET refcount = jam_preimages.refcount + 1, size = EXCLUDED.size, data = EXCLUDED.data
      """,
      hash(blob),
      age
    )
    let freshness: Oracle.Blob.Freshness = wasFresh.contains(blob) ? .unknown : .original
    oracle.record(
      existing == nil ? .newBlob(blob, Oracle.Blob(age: age, freshness: freshness)) : .freshBlob(blob),
      by: session
    )
    oracle.transactions[session]?.heldBlobs.insert(blob)
    oracle.transactions[session]?.named.insert(blob)
  }

  private func touch(_ hashes: [Int], by session: Int) throws {
    // An old snapshot sees fewer blobs than the oracle.
    guard oracle.transactions[session].map({ $0.level == .readCommitted }) ?? true else { return }
    let visible = oracle.visible(to: session).blobs
    let missing = try sessions[session].query("SELECT jam_touch_preimages($1::text[]) AS hash", hashes.map(hash))
    let found = try Set(missing.rows.map { try $0.string("hash") })
    let expected = Set(hashes.filter { visible[$0] == nil }.map(hash))
    guard found == expected else { throw Failure(description: "touch says that \(found) are missing, not \(expected)") }
    for blob in Set(hashes) where visible[blob] != nil {
      oracle.record(.freshBlob(blob), by: session)
      oracle.transactions[session]?.named.insert(blob)
    }
  }

  /// Hashes whose freshness may still be in the ledger after the blob itself is gone.
  private var wasFresh: Set<Int> = []

  private func delete(_ blob: Int, by session: Int) throws {
    let others = oracle.transactions.values
    guard !others.contains(where: { $0.heldBlobs.contains(blob) || $0.hasFolded }) else { return }
    let count = oracle.committed.references[blob] ?? 0
    let isNamed = others.contains { $0.named.contains(blob) }
    do {
      _ = try sessions[session].query("DELETE FROM jam_preimages WHERE hash = $1", hash(blob))
      guard oracle.committed.blobs[blob] != nil else { return }
      guard count == 0 else { throw Failure(description: "a blob with \(count) references was deleted") }
      guard !isNamed else { throw Failure(description: "a blob was deleted that a running transaction has named") }
      wasFresh.insert(blob)
      oracle.record(.blobGone(blob), by: session)
    } catch let error as PostgresError {
      let isBusy = error.sqlState == "55P03" && !others.isEmpty
      guard isBusy || (error.sqlState == "23503" && count > 0) else { throw error }
    }
  }

  private func truncate(_ level: Operation.Level, everything: Bool, by session: Int) throws {
    let connection = sessions[session]
    try connection.execute("BEGIN ISOLATION LEVEL \(raw: level.rawValue)")
    try connection.execute(
      everything ? "TRUNCATE jam_services, jam_preimages CASCADE" : "TRUNCATE jam_work_packages CASCADE"
    )
    try connection.execute("COMMIT")
    for id in oracle.committed.packages.keys { oracle.committed.apply(.packageGone(id)) }
    if everything {
      wasFresh.formUnion(oracle.committed.blobs.keys)
      oracle.committed.blobs = [:]
      oracle.committed.code = nil
      try insertService()
    }
  }

  private func terminate(_ session: Int) throws {
    let processID = sessions[session].processID
    _ = try observer.query("SELECT pg_terminate_backend(\(processID))")
    while try observer.query("SELECT FROM pg_stat_activity WHERE pid = \(processID)").first != nil {}
    try reconnect(session)
  }

  private func crash() throws {
    guard let server else { return }
    server.killHard()
    try server.restart()
    observer = try database.connect()
    for session in sessions.indices { try reconnect(session) }
    try check()
  }

  // MARK: What a session may do

  private func package(_ pick: Int, for session: Int) -> Int? {
    let transaction = oracle.transactions[session]
    // The checks of foreign keys read and write the same pages as other sessions: at SERIALIZABLE that alone fails with
    // 40001, with or without counting. Submits remain, and must not.
    guard transaction?.level != .serializable else { return nil }
    let held = oracle.others(than: session).reduce(into: Set()) { $0.formUnion($1.heldPackages) }
    var ids = oracle.visible(to: session).packages.keys.filter { !held.contains($0) }.sorted()
    // An old snapshot may not see a package of another session, or see one that was changed since.
    if let transaction, transaction.level != .readCommitted { ids = ids.filter(transaction.own.contains) }
    return ids.isEmpty ? nil : ids[pick % ids.count]
  }

  private func hold(_ hashes: [Int], by session: Int) {
    oracle.transactions[session]?.named.formUnion(hashes)
    // What is counted in the blob's row at once locks it until the transaction ends.
    guard isImmediate, oracle.transactions[session]?.level == .readCommitted else { return }
    oracle.transactions[session]?.heldBlobs.formUnion(hashes)
  }

  private func change(_ change: Oracle.Change, of package: Int, naming hashes: [Int], by session: Int) {
    oracle.record(change, by: session)
    oracle.transactions[session]?.heldPackages.insert(package)
    hold(hashes, by: session)
  }

  // MARK: Comparisons

  /// Compares one snapshot with what is committed.
  private func check() throws {
    let drift = try observer.query("SELECT * FROM jam_verify_refcounts()").rows
    guard drift.isEmpty else { throw Failure(description: "the law is broken: \(drift)") }
    let counted = try observer.query(
      """
      SELECT k.hash, sum(k.n)::bigint AS n
      FROM (
        SELECT hash, refcount AS n FROM jam_preimages
        UNION ALL SELECT hash, delta FROM jam_reference_ledger WHERE hash IS NOT NULL
        UNION ALL SELECT hash, refcount FROM jam_unresolved_references
      ) AS k GROUP BY k.hash HAVING sum(k.n) <> 0
      """
    )
    let found = try Dictionary(uniqueKeysWithValues: counted.rows.map { (try $0.string("hash"), try $0.int("n")) })
    let expected = Dictionary(uniqueKeysWithValues: oracle.committed.references.map { (hash($0.key), $0.value) })
    guard found == expected else {
      throw Failure(description: "counted \(found), but the references are \(expected)")
    }
    let blobs = try Set(observer.query("SELECT hash FROM jam_preimages").rows.map { try $0.string("hash") })
    guard blobs == Set(oracle.committed.blobs.keys.map(hash)) else {
      throw Failure(description: "the blobs are \(blobs), not \(oracle.committed.blobs.keys.map(hash))")
    }
    let storage = try observer.query(
      "SELECT blobs = (SELECT count(*) FROM jam_preimages) AS ok FROM jam_storage WHERE storage_class = 'db'"
    )
    guard try storage.first?.bool("ok") == true else { throw Failure(description: "the storage totals are wrong") }
  }

  private func cleanUp(by session: Int) throws {
    let connection = sessions[session]
    let isAlone = oracle.transactions.isEmpty
    let dry = try connection.query("CALL jam_cleanup(dry_run => true)").first
    let real = try connection.query("CALL jam_cleanup(dry_run => false)").first
    guard real?["status"] == "completed" else { throw Failure(description: "status \(real?["status"] ?? "none")") }
    let before = oracle.committed
    let cleaned = before.cleaned(window: Self.window)
    try adopt(before: before, cleaned: cleaned, isExact: isAlone)
    if archiveDays == 0 {
      archived = []
    } else if let run = try real?.int("run_id") {
      archived.append((run, before, oracle.committed))
    }
    guard isAlone else { return }
    for column in real?.columns ?? [] where column.hasPrefix("deleted_") || column == "freed_bytes" {
      guard try dry?.int(column) == real?.int(column) else {
        throw Failure(description: "\(column): the dry run said \(dry?[column] ?? ""), the run \(real?[column] ?? "")")
      }
    }
  }

  /// The runs that can be undone, with the rows before and after each.
  private var archived: [(run: Int, before: Oracle.Rows, after: Oracle.Rows)] = []
  private var archiveDays = 0

  private func undo(_ index: Int, by session: Int) throws {
    let (run, before, after) = archived[index]
    var rows = oracle.committed
    var conflicts = 0
    let held = oracle.transactions.values.reduce(into: Set()) { $0.formUnion($1.heldPackages) }
    for (id, package) in before.packages {
      guard let left = after.packages[id] else {
        rows.packages[id] = package
        continue
      }
      guard left.reports.count < package.reports.count else { continue }
      let gone = package.reports.filter { $0.age > Self.window }
      // The check of the foreign key would have to wait for whoever deletes the package.
      guard !held.contains(id) else { return }
      if rows.packages[id] == nil { conflicts += gone.count } else { rows.packages[id]?.reports += gone }
    }
    for (blob, row) in before.blobs where after.blobs[blob] == nil {
      guard !oracle.transactions.contains(where: { $0.value.heldBlobs.contains(blob) }) else { return }
      // One that was put again is here already.
      guard rows.blobs[blob] == nil else { continue }
      rows.blobs[blob] = Oracle.Blob(age: row.age, freshness: wasFresh.contains(blob) ? .unknown : row.freshness)
    }
    let found = try sessions[session].query("SELECT * FROM jam_undo_cleanup($1)", run).rows
    guard found.count == conflicts else {
      throw Failure(description: "an undo of run \(run) has the conflicts \(found), not \(conflicts)")
    }
    archived.remove(at: index)
    oracle.committed = rows
    _ = try sessions[session].query("UPDATE jam_retention_policy SET dry_run = false")
    try check()
    let packages = try observer.query("SELECT count(*) AS n FROM jam_work_packages").first?.int("n")
    let reports = try observer.query("SELECT count(*) AS n FROM jam_work_reports").first?.int("n")
    guard packages == rows.packages.count, reports == rows.packages.values.reduce(0, { $0 + $1.reports.count }) else {
      throw Failure(description: "after an undo there are \(packages ?? -1) packages and \(reports ?? -1) reports")
    }
  }

  /// Takes over what a cleanup has deleted, after looking whether it might, and, with nobody in its way, whether it is all.
  private func adopt(before: Oracle.Rows, cleaned: Oracle.Rows, isExact: Bool) throws {
    let rows = try observer.query(
      """
      SELECT p.id, (SELECT count(*) FROM jam_work_reports AS r WHERE r.package_id = p.id AND r.created_at < now() - interval '30 days') AS old,
        (SELECT count(*) FROM jam_work_reports AS r WHERE r.package_id = p.id AND r.created_at >= now() - interval '30 days') AS young
      FROM jam_work_packages AS p
      """
    ).rows
    let left = try Dictionary(uniqueKeysWithValues: rows.map { (try $0.string("id"), $0) })
    var after = before
    for (id, package) in before.packages {
      guard let row = left[uuid(id)] else {
        guard cleaned.packages[id] == nil else { throw Failure(description: "package \(id) went: \(package)") }
        after.packages[id] = nil
        continue
      }
      let young = package.reports.filter { $0.age <= Self.window }
      guard try row.int("young") == young.count else { throw Failure(description: "a young report of \(id) went") }
      let old = try row.int("old")
      guard !isExact || (old == 0 && cleaned.packages[id] != nil) else {
        throw Failure(description: "package \(id) or its reports should have gone: \(package)")
      }
      // All reports of a package are in one batch here, and go together or not at all, since nobody locks a report.
      if old == 0 { after.packages[id]?.reports = young }
    }
    let blobs = try Set(observer.query("SELECT hash FROM jam_preimages").rows.map { try $0.string("hash") })
    let named = oracle.transactions.values.reduce(into: Set()) { $0.formUnion($1.named) }
    let references = after.references
    for (number, blob) in before.blobs where !blobs.contains(hash(number)) {
      let mayGo = references[number] == nil && blob.age > Self.window && blob.freshness != .fresh
      guard mayGo, !named.contains(number) else { throw Failure(description: "blob \(number) went: \(blob)") }
      after.blobs[number] = nil
      wasFresh.remove(number)
    }
    guard
      !isExact
        || cleaned.blobs.filter({ $0.value.freshness != .unknown }).keys.allSatisfy({ blobs.contains(hash($0)) }),
      !isExact || blobs.isSubset(of: cleaned.blobs.keys.map(hash))
    else { throw Failure(description: "\(blobs) are left, not \(cleaned.blobs)") }
    oracle.committed = after
  }

  /// Ends what is open; then, with nobody in the way, everything must be exact.
  private func finish() throws {
    for session in sessions.indices where oracle.transactions[session] != nil {
      try sessions[session].execute("COMMIT")
      oracle.end(session, commit: true)
    }
    try check()
    _ = try observer.query("SELECT jam_fold_references()")
    let entries = try observer.query("SELECT count(*) AS n FROM jam_reference_ledger").first?.int("n")
    guard entries == 0 else { throw Failure(description: "\(entries ?? -1) entries are left after the last fold") }
    let waiting = try observer.query("SELECT hash FROM jam_unresolved_references JOIN jam_preimages USING (hash)").rows
    guard waiting.isEmpty else { throw Failure(description: "references wait for blobs that are here: \(waiting)") }
    try check()
    try cleanUp(by: 0)
    try check()
    let anomalies = try observer.query("SELECT count(*) AS n FROM jam_refcount_anomalies").first?.int("n")
    guard anomalies == 0 else { throw Failure(description: "\(anomalies ?? -1) anomalies") }
  }

  private func uuid(_ number: Int) -> String {
    let digits = String(number)
    return "00000000-0000-0000-0001-" + String(repeating: "0", count: 12 - digits.count) + digits
  }
}
