import Foundation
import NIOCore
import ObjectStore
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// Objects of blobs that a cleanup has archived.
@Suite struct ArchivedBlobTests {
  /// A store with blobs in it that a cleanup has archived; their contents by hash, and the run.
  private func withArchived(
    _ count: Int = 3,
    _ body: (TestBlobStore, [String: Data], Int) async throws -> Void
  ) async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      try test.database.retention.setPolicy("archive_days", to: "30")
      var random = SeededGenerator(seed: 7)
      var contents: [String: Data] = [:]
      for _ in 0..<count {
        let content = Data.random(1000, using: &random)
        contents[try test.putInline(content, age: "60 days")] = content
      }
      try await test.offload()
      let run = try test.database.retention.cleanup()
      #expect(try run.int("deleted_preimages") == count)
      // Nothing of it goes, and nothing is unknown.
      #expect(try test.database.int("SELECT count(*) FROM jam_blob_deletions") == 0)
      #expect(try await test.store.sweep().deleted.count == 0)
      #expect(try await test.fsck() == [])
      #expect(try await test.names().sorted() == contents.keys.sorted())
      try await body(test, contents, try run.int("run_id"))
      try test.database.expectLaw()
    }
  }

  /// Ends leases and waits at once.
  private func passTime(_ test: TestBlobStore) throws {
    try test.database.connection.execute(
      "UPDATE jam_blob_uploads SET expires_at = now(); UPDATE jam_blob_deletions SET next_attempt_at = now()"
    )
  }

  private func purge(_ test: TestBlobStore) throws {
    try test.database.connection.execute("UPDATE jam_archive SET archived_at = archived_at - interval '31 days'")
    let dry = try test.database.retention.cleanup(dryRun: true).int("run_id")
    let run = try test.database.retention.cleanup(dryRun: false).int("run_id")
    let figures = try test.database.connection.query(
      "SELECT DISTINCT external_blobs, external_bytes, freed_bytes, purged_bytes FROM jam_cleanup_runs WHERE id IN (\(dry), \(run))"
    )
    #expect(figures.rows.count == 1, "dry run and run differ")
  }

  private func expectReadable(_ test: TestBlobStore, _ contents: [String: Data]) async throws {
    for (hash, content) in contents { #expect(try await test.read(hash) == content) }
  }

  private func deepFsck(_ test: TestBlobStore) async throws -> [FsckFinding] {
    var options = BlobStore.FsckOptions()
    options.isDeep = true
    options.graceSeconds = 0
    options.repairs = true
    return try await test.fsck(options)
  }

  @Test("Undone, they are readable from where they were; cleaned again and purged, their objects are swept")
  func undoAndPurge() async throws {
    try await withArchived { test, contents, run in
      #expect(try await deepFsck(test) == [])
      #expect(try test.database.retention.undo(run: run).rows == 3)
      try await expectReadable(test, contents)
      #expect(try await deepFsck(test) == [])
      let again = try test.database.retention.cleanup(dryRun: false)
      #expect(try again.int("deleted_preimages") == 3 && again.int("freed_bytes") == 0)
      try purge(test)
      #expect(
        try test.database.int("SELECT external_bytes FROM jam_cleanup_runs ORDER BY id DESC LIMIT 1") == 3000
      )
      #expect(try await test.store.sweep().deleted.count == 3)
      #expect(try await test.names() == [])
      #expect(try await deepFsck(test) == [])
    }
  }

  @Test("An object that is missing while its blob is archived is reported")
  func missing() async throws {
    try await withArchived { test, contents, _ in
      let hash = try #require(contents.keys.sorted().first)
      _ = try await test.objects.delete([test.store.prefix + hash])
      #expect(try await test.fsck().map(\.kind) == [.missing])
    }
  }

  @Test("An upload of the same hash that dies does not take the archived object along")
  func deadUpload() async throws {
    try await withArchived(1) { test, contents, run in
      let hash = try #require(contents.keys.first)
      for isAborted in [true, false] {
        let begun = try test.database.connection.query("SELECT * FROM jam_blob_upload_begin($1, 1000)", hash)
        #expect(begun.first?["outcome"] == "upload")
        if isAborted {
          try test.database.connection.execute("SELECT jam_blob_upload_abort(ARRAY(SELECT id FROM jam_blob_uploads))")
        }
        try passTime(test)
        #expect(try await test.store.sweep().deleted.count == 0)
      }
      #expect(try test.database.retention.undo(run: run).rows == 1)
      try await expectReadable(test, contents)
      try passTime(test)
      #expect(try await test.store.sweep().waiting == 0)
      #expect(try await deepFsck(test) == [])
    }
  }

  @Test("A blob that was put again shares its object with the archive, until neither needs it")
  func putAgain() async throws {
    try await withArchived(2) { test, contents, run in
      for (hash, content) in contents {
        let put = try await test.store.put(
          ObjectContent(ByteBuffer(bytes: content)),
          mediaType: "",
          uploader: "",
          usesObjectStore: true
        )
        #expect(put.hash == hash && !put.wasThere)
      }
      try await test.offload()
      try await expectReadable(test, contents)
      // One goes by hand: the archive needs its object still.
      let hash = try #require(contents.keys.sorted().first)
      try test.database.connection.execute(
        "SELECT jam_fold_references(); DELETE FROM jam_preimages WHERE hash = \(literal: hash)"
      )
      #expect(try await test.store.sweep().deleted.count == 0)
      // The other one stays when its archived copy is purged.
      try purge(test)
      #expect(try await test.store.sweep().deleted.count == 1)
      try await expectReadable(test, contents.filter { $0.key != hash })
      #expect(try await test.names() == contents.keys.filter { $0 != hash })
      #expect(try await deepFsck(test) == [])
      _ = run
    }
  }

  @Test("A blob that is inline when its archived copy comes back stays so, and the object goes")
  func inlineAgain() async throws {
    try await withArchived { test, contents, run in
      for content in contents.values { try test.putInline(content) }
      #expect(try test.database.retention.undo(run: run).conflicts.rows.isEmpty)
      try await expectReadable(test, contents)
      #expect(try await test.store.sweep().deleted.count == 3)
      try await expectReadable(test, contents)
      #expect(try await deepFsck(test) == [])
    }
  }

  @Test("An archived object of a later name comes back under that name, whatever became of the names")
  func generations() async throws {
    try await withArchived(1) { test, contents, run in
      let hash = try #require(contents.keys.first)
      let content = try #require(contents[hash])
      // Back, gone for good, and put again: a request to delete it was not answered, so the next object is hash.1.
      _ = try test.database.retention.undo(run: run)
      try test.database.retention.setPolicy("dry_run", to: "false")
      try test.database.retention.setPolicy("archive_days", to: "0")
      _ = try test.database.retention.cleanup()
      _ = try test.database.connection.query("SELECT * FROM jam_blob_deletions_claim()")
      try test.putInline(content, age: "60 days")
      try test.database.connection.execute("SELECT jam_fold_references(); DELETE FROM jam_preimage_puts")
      try await test.offload()
      #expect(try await test.names().sorted() == [hash, "\(hash).1"])
      try test.database.retention.setPolicy("archive_days", to: "30")
      let second = try test.database.retention.cleanup().int("run_id")
      #expect(try test.database.int("SELECT generation FROM jam_archived_preimages") == 1)
      // The answer comes late, and the names are forgotten.
      _ = try await test.objects.delete([test.store.prefix + hash])
      try test.database.connection.execute("SELECT jam_blob_deletions_done(ARRAY(SELECT id FROM jam_blob_deletions))")
      #expect(try await test.names() == ["\(hash).1"])
      #expect(try test.database.int("SELECT count(*) FROM jam_blob_objects") == 0)
      #expect(try await deepFsck(test) == [])
      #expect(try test.database.retention.undo(run: second).rows == 1)
      try await expectReadable(test, contents)
      #expect(try await deepFsck(test) == [])
      try passTime(test)
      #expect(try await test.store.sweep().deleted.count == 0)
      try await expectReadable(test, contents)
    }
  }
}
