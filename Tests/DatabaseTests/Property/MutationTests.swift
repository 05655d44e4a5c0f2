import Foundation
import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import Testing

private let isWanted = ProcessInfo.processInfo.environment["JAM_MUTATIONS"] != nil
private let isRunBy: Comment = "make mutations runs them"

/// Breaks the generated SQL on purpose, one place at a time: the random programs must notice each, or, where it takes two
/// sessions at the same instant, an isolation spec. `make mutations`.
@Suite(.serialized) struct MutationTests {
  struct Mutation: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var file: String
    var text: String
    var replacement: String
    var modes = RefcountingMode.allCases
    /// The isolation spec that notices it; nil: random programs do.
    var spec: String?
    /// Whether the programs archive what cleanups delete, and undo them.
    var archives: Bool
    /// Whether it is about blobs in the object store, which have random programs of their own.
    var isAboutObjects: Bool

    init(
      _ what: String,
      _ file: String,
      _ text: String,
      _ replacement: String,
      modes: [RefcountingMode] = RefcountingMode.allCases,
      spec: String? = nil,
      archives: Bool = false,
      isAboutObjects: Bool = false
    ) {
      testDescription = what
      self.file = file
      self.text = text
      self.replacement = replacement
      self.modes = modes
      self.spec = spec
      self.archives = archives
      self.isAboutObjects = isAboutObjects || file.hasPrefix("075")
    }
  }

  static let mutations = [
    Mutation(
      "submit: references of the same hash are counted once",
      "050_triggers.sql",
      "SELECT e.hash, count(*) AS delta",
      "SELECT e.hash, 1 AS delta",
      modes: [.immediate]
    ),
    Mutation(
      "submit: references of the same hash are appended once",
      "050_triggers.sql",
      "SELECT e.hash, 1 AS delta",
      "SELECT DISTINCT e.hash, 1 AS delta",
      modes: [.deferred]
    ),
    Mutation(
      "delete: references are not given back",
      "050_triggers.sql",
      "SELECT e.hash, -count(*) AS delta",
      "SELECT e.hash, 0 AS delta"
    ),
    Mutation(
      "update: the old references stay counted",
      "050_triggers.sql",
      "-1 AS delta FROM (SELECT OLD.",
      "0 AS delta FROM (SELECT OLD."
    ),
    Mutation(
      "truncate: forgets what the table held",
      "050_triggers.sql",
      "BEFORE TRUNCATE ON public.jam_work_packages",
      "AFTER TRUNCATE ON public.jam_work_packages"
    ),
    Mutation(
      "submit: takes no shared lock, so a deletion does not see it",
      "050_triggers.sql",
      "pg_catalog.pg_advisory_xact_lock_shared(2130227520, (pg_catalog.hashtext(e.hash) & 255)) IS NOT NULL",
      "true"
    ),
    Mutation(
      "submit: what cannot be applied at once is lost",
      "050_triggers.sql",
      "SELECT c.hash, c.delta FROM changed AS c\n      EXCEPT ALL",
      "SELECT c.hash, c.delta FROM changed AS c WHERE false\n      EXCEPT ALL",
      modes: [.immediate]
    ),
    Mutation(
      "submit: what is applied at once is also put in the ledger",
      "050_triggers.sql",
      "SELECT a.hash, a.delta FROM applied AS a",
      "SELECT a.hash, a.delta FROM applied AS a WHERE false",
      modes: [.immediate]
    ),
    Mutation(
      "submit: rows are updated above READ COMMITTED",
      "050_triggers.sql",
      "IF current_setting('transaction_isolation') <> 'read committed' THEN",
      "IF false THEN",
      modes: [.immediate]
    ),
    Mutation("put: the client's refcount is taken", "050_triggers.sql", "NEW.refcount := OLD.refcount;", "NULL;"),
    Mutation(
      "put: the arrival leaves no marker for waiting references",
      "050_triggers.sql",
      "SELECT g.hash, 0 FROM gained AS g;",
      "SELECT g.hash, 0 FROM gained AS g WHERE false;"
    ),
    Mutation(
      "put again: does not count as a put",
      "050_triggers.sql",
      "VALUES (NEW.hash, 0, clock_timestamp(), true)",
      "VALUES (NEW.hash, 0, clock_timestamp(), false)"
    ),
    Mutation(
      "deletion by hand: pending references are not asked for",
      "050_triggers.sql",
      "SELECT c.refcount, EXISTS (",
      "SELECT c.stored, EXISTS (",
      modes: [.deferred]
    ),
    Mutation(
      "deletion by hand: counts are believed that are to be taken again",
      "050_triggers.sql",
      "IF recounts THEN",
      "IF false THEN",
      spec: "hand-delete-truncate"
    ),
    Mutation(
      "fold: entries stay in the ledger",
      "040_counting.sql",
      "WHERE f.is_busy AND e.recorded_at IS NOT NULL",
      "WHERE e.recorded_at IS NOT NULL"
    ),
    Mutation(
      "fold: references that wait for their blob are dropped",
      "040_counting.sql",
      "f.delta + coalesce(f.awaited, 0) AS delta",
      "f.delta AS delta"
    ),
    Mutation(
      "fold: references to absent blobs are not remembered",
      "040_counting.sql",
      "FROM absent AS a WHERE a.delta <> 0 AND a.stored + a.delta > 0",
      "FROM absent AS a WHERE false"
    ),
    Mutation("fold: the put is not remembered", "040_counting.sql", "WHERE c.put_at IS NOT NULL", "WHERE false"),
    Mutation(
      "touch: does not count as a put",
      "040_counting.sql",
      "SELECT b.hash, 0, clock_timestamp(), true FROM public.jam_preimages AS b",
      "SELECT b.hash, 0, clock_timestamp(), false FROM public.jam_preimages AS b"
    ),
    Mutation(
      "preview: forgets the references that expire with their rows",
      "070_cleanup.sql",
      "SELECT k.hash, -1 AS delta FROM (SELECT a.hash FROM dying_packages",
      "SELECT k.hash, 0 AS delta FROM (SELECT a.hash FROM dying_packages"
    ),
    Mutation(
      "preview: ignores the ledger",
      "070_cleanup.sql",
      "SELECT l.hash, l.delta, CASE WHEN l.is_put",
      "SELECT l.hash, 0 AS delta, CASE WHEN l.is_put"
    ),
    Mutation(
      "preview: does not count again what a run would",
      "070_cleanup.sql",
      "WHERE EXISTS (SELECT FROM public.jam_reference_ledger AS l WHERE l.hash IS NULL)",
      "WHERE false",
      spec: "hand-delete-truncate"
    ),
    Mutation(
      "cleanup: a package comes into a protected status meanwhile",
      "070_cleanup.sql",
      "IF cardinality(protected) > 0 THEN",
      "IF false THEN",
      spec: "protected-cleanup-reports"
    ),
    Mutation(
      "cleanup: a package with a report goes, and takes the report along",
      "070_cleanup.sql",
      "AND NOT EXISTS (SELECT FROM public.jam_work_reports AS c WHERE c.package_id = r.id)",
      "AND true"
    ),
    Mutation(
      "cleanup: blobs go whatever their refcount",
      "070_cleanup.sql",
      "= 0 AND r.created_at < cutoff",
      "= r.refcount AND r.created_at < cutoff"
    ),
    Mutation(
      "cleanup: pending references are not asked for",
      "070_cleanup.sql",
      "SELECT l.hash FROM public.jam_reference_ledger AS l\n  ) AS s",
      "SELECT l.hash FROM public.jam_reference_ledger AS l WHERE false\n  ) AS s",
      modes: [.deferred],
      spec: "submit-cleanup-blobs"
    ),
    Mutation("cleanup: later puts are not asked for", "070_cleanup.sql", "AND t.put_at >= cutoff)", "AND false)"),
    Mutation(
      "cleanup: a day is taken for an hour",
      "070_cleanup.sql",
      "make_interval(days => coalesce(settings.packages_retention_days",
      "make_interval(hours => coalesce(settings.packages_retention_days"
    ),
    Mutation(
      "cleanup: does not fold what it has freed",
      "070_cleanup.sql",
      "PERFORM public.jam_fold_references();",
      "NULL;",
      modes: [.deferred]
    ),
  ]

  /// Of what archives, undoes and purges.
  static let archiveMutations = [
    Mutation(
      "cleanup: what is archived counts as freed",
      "070_cleanup.sql",
      "blob_bytes := bigint '0';",
      "NULL;",
      archives: true
    ),
    Mutation(
      "undo: children come before their parents",
      "065_archive.sql",
      "ORDER BY array_position(classes, c.data_class)",
      "ORDER BY array_position(classes, c.data_class) DESC",
      archives: true
    ),
    Mutation(
      "undo: a blob that is here again is in the way",
      "065_archive.sql",
      "b.data = a.data OR b.storage_class = 's3'",
      "false",
      archives: true
    ),
    Mutation(
      "undo: a cleanup that is running goes on",
      "065_archive.sql",
      "WHERE r.status = 'running';",
      "WHERE false;",
      spec: "undo-cleanup"
    ),
    Mutation(
      "undo: does not exclude a cleanup",
      "065_archive.sql",
      "PERFORM pg_advisory_xact_lock(2130227520, 257);",
      "",
      spec: "undo-cleanup"
    ),
    Mutation(
      "undo: scheduled cleanups delete the rows again",
      "065_archive.sql",
      "IF expired > 0 THEN",
      "IF false THEN",
      spec: "undo-cleanup"
    ),
  ]

  /// Of what moves blobs into the object store and out of it.
  static let objectMutations = [
    Mutation(
      "sweep: takes objects that somebody is writing",
      "075_blob_store.sql",
      "AND NOT EXISTS (SELECT FROM public.jam_blob_uploads AS u WHERE u.hash = c.hash AND u.generation = c.generation)",
      "AND true"
    ),
    Mutation(
      "sweep: takes objects that are in use after all",
      "075_blob_store.sql",
      "WHERE b.hash = c.hash AND b.object_key =",
      "WHERE b.hash = c.hash AND '-' =",
      spec: "blob-claim-leave"
    ),
    Mutation(
      "sweep: drops the entry of an object that its blob is just leaving",
      "075_blob_store.sql",
      "AND b.storage_class = 's3'\n      FOR NO KEY UPDATE SKIP LOCKED",
      "AND b.storage_class = 's3'",
      spec: "blob-claim-leave"
    ),
    Mutation(
      "sweep: a name is used again that the store was asked to delete",
      "075_blob_store.sql",
      "SELECT c.hash, 0, max(c.generation) + 1, count(*)",
      "SELECT c.hash, 0, max(c.generation), count(*)"
    ),
    Mutation(
      "sweep: a blob is looked for where the object was that goes",
      "075_blob_store.sql",
      "SET next_generation = greatest(g.next_generation, EXCLUDED.next_generation),",
      "SET next_generation = greatest(g.next_generation, EXCLUDED.next_generation), generation = EXCLUDED.next_generation - 1,"
    ),
    Mutation(
      "sweep: forgets the requests that were not answered",
      "075_blob_store.sql",
      "AND g.unanswered <= a.requests",
      "AND true"
    ),
    Mutation(
      "upload: the blob is looked for where its last object was",
      "075_blob_store.sql",
      "OR EXISTS (SELECT FROM public.jam_blob_objects AS o WHERE o.hash = e.hash)",
      "OR false",
      spec: "blob-upload-sweep"
    ),
    Mutation(
      "upload: one that ends after another takes its place",
      "075_blob_store.sql",
      "l.is_first AND (a.hash IS NOT NULL OR m.hash IS NOT NULL) AS is_used",
      "l.is_first AS is_used",
      spec: "blob-upload-sweep"
    ),
    Mutation(
      "upload: begins while the sweep claims",
      "075_blob_store.sql",
      "PERFORM pg_catalog.pg_advisory_xact_lock(2130227520, 512 + (pg_catalog.hashtext(jam_blob_upload_begin.hash) & 255));",
      "",
      spec: "blob-upload-sweep"
    ),
    Mutation(
      "upload: what is given up is not queued",
      "075_blob_store.sql",
      "l.size FROM leases AS l\n",
      "l.size FROM leases AS l WHERE false\n",
      spec: "blob-upload-upload"
    ),
    Mutation(
      "offload: what was written for nothing is not queued",
      "075_blob_store.sql",
      "WHERE NOT e.is_used AND e.outcome <> 'busy'",
      "WHERE false",
      spec: "blob-offload-cleanup"
    ),
    Mutation(
      "offload: does not see that somebody else is at it",
      "075_blob_store.sql",
      "AND u.is_offload AND u.expires_at > pg_catalog.clock_timestamp()",
      "AND false",
      spec: "blob-offload-offload"
    ),
    Mutation(
      "offload: waits for a submit",
      "075_blob_store.sql",
      "OR (b.data IS NULL AND b.storage_class <> 's3'))\n      FOR NO KEY UPDATE SKIP LOCKED",
      "OR (b.data IS NULL AND b.storage_class <> 's3'))\n      FOR NO KEY UPDATE",
      modes: [.immediate],
      spec: "blob-offload-submit"
    ),
    Mutation(
      "restore: waits for a submit",
      "075_blob_store.sql",
      "WHERE b.hash = jam_blob_restore.hash\n  FOR NO KEY UPDATE SKIP LOCKED",
      "WHERE b.hash = jam_blob_restore.hash\n  FOR NO KEY UPDATE",
      modes: [.immediate],
      spec: "blob-restore"
    ),
    Mutation(
      "sweep: takes objects that only the archive needs",
      "075_blob_store.sql",
      "FROM public.jam_archived_preimages AS a",
      "FROM (SELECT * FROM public.jam_archived_preimages LIMIT 0) AS a",
      archives: true
    ),
    Mutation(
      "cleanup: the archive takes each object for its blob's first",
      "070_cleanup.sql",
      "coalesce(o.generation, 0) END",
      "0 END",
      archives: true,
      isAboutObjects: true
    ),
  ]

  @Test("Each place to break is there", arguments: mutations + archiveMutations + objectMutations)
  func isThere(mutation: Mutation) throws {
    for mode in mutation.modes {
      var model = RetentionModel.jam
      model.refcounting = mode
      let file = MigrationGenerator.files(for: model).first { $0.path == mutation.file }
      #expect(file?.text.contains(mutation.text) == true, "\(mode.rawValue)")
    }
  }

  @Test("With objects it is noticed, too", .enabled(if: isWanted, isRunBy), arguments: objectMutations)
  func isNoticedWithObjects(mutation: Mutation) async throws { try await isNoticed(mutation: mutation) }

  @Test("With an archive it is noticed, too", .enabled(if: isWanted, isRunBy), arguments: archiveMutations)
  func isNoticedWithArchive(mutation: Mutation) async throws { try await isNoticed(mutation: mutation) }

  @Test("It is noticed", .enabled(if: isWanted, isRunBy), arguments: mutations)
  func isNoticed(mutation: Mutation) async throws {
    for mode in mutation.modes {
      let database = try TestDatabase(mode)
      var files = MigrationGenerator.files(for: database.model)
      let index = try #require(files.firstIndex { $0.path == mutation.file })
      try #require(files[index].text.contains(mutation.text), "\(mode.rawValue): the text to break is not there")
      let broken = files[index].text.replacing(mutation.text, with: mutation.replacement)
      files[index] = MigrationFile(path: mutation.file, text: broken)
      let noticed: String? =
        if let spec = mutation.spec {
          try difference(in: spec, mode, database, files)
        } else if mutation.isAboutObjects {
          try await failureWithObjects(of: database, files, archives: mutation.archives)
        } else {
          try failure(of: database, files, archives: mutation.archives)
        }
      #expect(noticed != nil, "\(mode.rawValue): nothing fails")
      if let noticed { print("mutation, \(mode.rawValue): \(mutation.testDescription): \(noticed)") }
    }
  }

  /// What the first random program says that fails.
  private func failure(of database: TestDatabase, _ files: [MigrationFile], archives: Bool) throws -> String? {
    _ = try database.migrator(files).up()
    let runner = try ProgramRunner(database: database, files: files)
    for seed in UInt64(1)...150 {
      do { try runner.run(Program(seed: seed, archives: archives)) } catch {
        return "program \(seed): \("\(error)".prefix(160))"
      }
    }
    return nil
  }

  /// The same for programs that move blobs.
  private func failureWithObjects(
    of database: TestDatabase,
    _ files: [MigrationFile],
    archives: Bool
  ) async throws -> String? {
    _ = try database.migrator(files).up()
    try database.retention.setPolicy("offload_threshold_bytes", to: "0")
    for seed in UInt64(1)...200 {
      do {
        try await withDirectoryStore { directory in
          try await BlobProgram(seed: seed, database: database, base: directory, archives: archives).run()
        }
      } catch {
        return "program \(seed): \("\(error)".prefix(160))"
      }
    }
    return nil
  }

  /// Where the spec's output differs from what was accepted, at the first isolation level at which it does.
  private func difference(
    in name: String,
    _ mode: RefcountingMode,
    _ database: TestDatabase,
    _ files: [MigrationFile]
  ) throws -> String? {
    let spec = try #require(IsolationSpec.all.first { $0.name == name })
    let prepared = try IsolationTester.install(database, files: files)
    for run in try spec.runs() where run.mode == mode {
      let expected = try #require(spec.expected(for: run))
      let output = try IsolationTester.output(of: spec, run, on: prepared)
      if try !IsolationTester.difference(from: expected, to: output).isEmpty {
        return "spec \(name), \(run.level.rawValue)"
      }
    }
    return nil
  }
}
