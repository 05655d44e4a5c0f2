import EmbeddedSeaweed
import Foundation
import MigrationGenerator
import NIOCore
import ObjectStore
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// Blobs on their way into the object store, in it, and out of it.
@Suite struct BlobStoreTests {
  @Test("Offloaded, read, cleaned, swept: nothing is missing, nothing left over", arguments: RefcountingMode.allCases)
  func wholeStory(mode: RefcountingMode) async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(mode, objects: objects)
      var random = SeededGenerator(seed: 1)
      var contents: [String: Data] = [:]
      // Around the size of a piece, empty, and one that the server compresses.
      for size in [0, 1, 1000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20] {
        let content = Data.random(size, using: &random)
        contents[try test.putInline(content, age: "60 days")] = content
      }
      let zeroes = Data(count: 5 << 20)
      contents[try test.putInline(zeroes, age: "60 days")] = zeroes
      let kept = try #require(contents.keys.sorted().first)
      try test.database.submit([kept], age: "5 days")

      let moved = try await test.offload()
      #expect(moved.moved.count == contents.count && moved.failed == 0 && moved.skipped.isEmpty)
      #expect(moved.moved.bytes == contents.values.reduce(0) { $0 + Int64($1.count) })
      #expect(try await test.names().sorted() == contents.keys.sorted())
      #expect(try test.database.int("SELECT count(*) FROM jam_preimages WHERE data IS NOT NULL") == 0)
      for (hash, content) in contents { #expect(try await test.read(hash) == content) }
      #expect(try await test.offload().moved.count == 0)
      var deep = BlobStore.FsckOptions()
      deep.isDeep = true
      #expect(try await test.fsck(deep) == [])
      try test.database.expectLaw()

      let preview = try test.database.retention.preview().rows
      let external = try #require(preview.first { $0["data_class"] == "external preimages" })
      #expect(try external.int("rows") == contents.count - 1)
      let run = try test.database.retention.cleanup()
      #expect(try run.int("deleted_preimages") == contents.count - 1)
      let record = try #require(
        test.database.connection.query(
          "SELECT external_blobs, external_bytes, freed_bytes FROM jam_cleanup_runs ORDER BY id DESC LIMIT 1"
        ).first
      )
      #expect(try record.int("external_blobs") == contents.count - 1)
      #expect(try record.int("external_bytes") == record.int("freed_bytes"))
      #expect(try await test.fsck() == [])
      let sweep = try await test.store.sweep()
      #expect(sweep.deleted.count == contents.count - 1 && sweep.failed == 0 && sweep.waiting == 0)
      #expect(try await test.names() == [kept])
      #expect(try await test.fsck() == [])
      #expect(try await test.read(kept) == contents[kept])
    }
  }

  @Test("A put goes where its size says, and comes back")
  func put() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      try test.database.retention.setPolicy("offload_threshold_bytes", to: "1000")
      var random = SeededGenerator(seed: 2)
      for (size, storageClass) in [(0, "db"), (1000, "db"), (1001, "s3"), (3_000_000, "s3")] {
        let content = Data.random(size, using: &random)
        for wasThere in [false, true] {
          let put = try await test.store.put(
            ObjectContent(ByteBuffer(bytes: content)),
            mediaType: "text/plain",
            uploader: "me",
            usesObjectStore: true
          )
          #expect(put.hash == content.digest && put.wasThere == wasThere && put.storageClass == storageClass)
        }
        #expect(try await test.read(content.digest) == content)
        let place = try #require(try await test.store.location(of: content.digest))
        #expect(place.mediaType == "text/plain" && place.size == Int64(size))
      }
      let large = Data.random(5000, using: &random)
      let inline = try await test.store.put(
        ObjectContent(ByteBuffer(bytes: large)),
        mediaType: "",
        uploader: "",
        usesObjectStore: false
      )
      #expect(inline.storageClass == "db")
      #expect(try await test.read(large.digest) == large)
      #expect(try test.database.int("SELECT count(*) FROM jam_blob_uploads") == 0)
    }
  }

  @Test("A restored blob is in its row, and its object is swept")
  func restore() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      var random = SeededGenerator(seed: 3)
      let contents = [0, 10, 3_000_000].map { Data.random($0, using: &random) }
      for content in contents { try test.putInline(content) }
      try await test.offload()
      var options = MoveOptions()
      options.minimumBytes = -1
      let summary = try await test.store.restore(options)
      #expect(summary.moved.count == 3 && summary.failed == 0)
      #expect(try test.database.int("SELECT count(*) FROM jam_preimages WHERE data IS NULL") == 0)
      for content in contents { #expect(try await test.read(content.digest) == content) }
      #expect(try await test.store.sweep().deleted.count == 3)
      #expect(try await test.names() == [])
      #expect(try await test.fsck() == [])
      // The moves are no puts: what was old stays old.
      #expect(try test.database.int("SELECT count(*) FROM jam_preimage_puts") == 0)
    }
  }

  @Test("A restore takes the content that it is given, also where the table has a column of that name")
  func restoreBesideColumn() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      try test.database.connection.execute("ALTER TABLE jam_preimages ADD COLUMN content bytea")
      let content = Data("restored".utf8)
      try test.putInline(content)
      try await test.offload()
      var options = MoveOptions()
      options.minimumBytes = -1
      #expect(try await test.store.restore(options).moved.count == 1)
      #expect(try test.storageClass(content.digest) == "db")
      #expect(try await test.store.sweep().deleted.count == 1)
      #expect(try await test.read(content.digest) == content)
      #expect(try test.database.int("SELECT count(*) FROM jam_preimages WHERE content IS NOT NULL") == 0)
    }
  }

  @Test("Where the table has no defaults and media types are NULL, blobs are put, moved and read all the same")
  func withoutDefaults() async throws {
    var model = RetentionModel.jam
    let table = try #require(model.tables.firstIndex { $0.name == model.blobs.table })
    for index in model.tables[table].columns.indices {
      model.tables[table].columns[index].defaultExpression = nil
      if model.tables[table].columns[index].name == model.blobs.mediaType {
        model.tables[table].columns[index].isNullable = true
      }
    }
    let database = try TestDatabase(model: model)
    _ = try database.migrate()
    try database.retention.setPolicy("offload_threshold_bytes", to: "10")
    try await withDirectoryStore { objects in
      let test = TestBlobStore(database: database, objects: objects)
      let (small, large) = (Data("small".utf8), Data("larger than that".utf8))
      #expect(try await test.put(small).storageClass == "db")
      #expect(try await test.put(large).storageClass == "s3")
      #expect(try database.int("SELECT count(*) FROM jam_preimages WHERE created_at > now() - interval '1 hour'") == 2)
      try database.connection.execute("UPDATE jam_preimages SET media_type = NULL")
      #expect(try await test.offload().moved.count == 1)
      for content in [small, large] {
        #expect(try test.storageClass(content.digest) == "s3")
        #expect(try await test.read(content.digest) == content)
        #expect(try await test.store.location(of: content.digest)?.mediaType == "")
      }
      // Of a client in another language.
      let begun = try database.connection.query(
        "SELECT outcome FROM jam_blob_upload_begin($1, 1, NULL, NULL)",
        hash(1)
      )
      #expect(begun.first?["outcome"] == "upload")
    }
  }

  @Test("What a client puts inline over an external blob is inline again, and nothing is lost")
  func inlineOverExternal() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      let content = Data("some content".utf8)
      let hash = try test.putInline(content)
      try await test.offload()
      #expect(try test.storageClass(hash) == "s3")
      try test.putInline(content)
      #expect(try test.storageClass(hash) == "db")
      #expect(try await test.read(hash) == content)
      #expect(try await test.store.sweep().deleted.count == 1)
      #expect(try await test.read(hash) == content)
      try await test.offload()
      #expect(try await test.read(hash) == content)
      #expect(try await test.fsck() == [])
    }
  }

  @Test("After an attempt to delete that may still be carried out, the next upload has another name")
  func freshName() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      let content = Data("some content".utf8)
      let hash = try test.putInline(content, age: "60 days")
      try await test.offload()
      #expect(try test.database.retention.cleanup().int("deleted_preimages") == 1)
      // The store is asked, and nothing more is heard.
      let claimed = try test.database.connection.query("SELECT object_key FROM jam_blob_deletions_claim()").rows
      #expect(claimed.first?["object_key"] == hash)
      try test.putInline(content)
      try await test.offload()
      #expect(try await test.names() == [hash, "\(hash).1"])
      #expect(try await test.store.location(of: hash)?.objectKey == "\(hash).1")
      // The request arrives after all.
      try await objects.delete("preimages/\(hash)")
      #expect(try await test.read(hash) == content)
      #expect(try await test.fsck() == [])
    }
  }

  @Test("Missing, damaged and unknown objects are found; an orphan goes, a foreign object stays")
  func fsck() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      let contents = (0..<4).map { Data("content \($0)".utf8) }
      for content in contents { try test.putInline(content) }
      try await test.offload()
      let key = { (index: Int) in "preimages/\(contents[index].digest)" }
      func overwrite(_ key: String, _ text: String) async throws {
        try await objects.put(key, ObjectContent(ByteBuffer(string: text)), contentType: "text/plain")
      }
      try await objects.delete(key(0))
      try await overwrite(key(1), "short")
      try await overwrite(key(2), "CONTENT 2")
      let orphan = "preimages/\(Data("nobody's".utf8).digest)"
      try await overwrite(orphan, "nobody's")
      try await overwrite("preimages/readme.txt", "hands off")

      func kinds(_ findings: [FsckFinding]) -> [String: FsckFinding.Kind] {
        Dictionary(findings.map { ($0.key, $0.kind) }) { $1 }
      }
      var options = BlobStore.FsckOptions()
      var expected: [String: FsckFinding.Kind] = [
        key(0): .missing, key(1): .wrongSize, "preimages/readme.txt": .foreign,
      ]
      #expect(kinds(try await test.fsck(options)) == expected)
      options.isDeep = true
      options.graceSeconds = -60
      options.repairs = true
      expected[key(2)] = .damaged
      expected[orphan] = .orphaned
      #expect(kinds(try await test.fsck(options)) == expected)
      #expect(try await test.store.sweep().deleted.count == 1)
      expected[orphan] = nil
      #expect(kinds(try await test.fsck(options)) == expected)

      for index in 0...2 {
        await #expect(throws: RunnerError.self) { try await test.read(contents[index].digest) }
      }
      #expect(try await test.read(contents[3].digest) == contents[3])
    }
  }

  @Test("A row whose content is not its hash stays, and the others move")
  func damagedRow() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      try test.putInline(Data("good".utf8))
      try test.database.put(hash(1))
      try test.database.connection.execute(
        "INSERT INTO jam_preimages (hash, size, data) VALUES ('no hash', 3, 'abc'), (repeat('a', 64), 99, 'abc')"
      )
      let summary = try await test.offload()
      #expect(summary.moved.count == 1 && summary.failed == 1)
      #expect(summary.skipped == ["wrong size": 1, "not a hash": 1])
      #expect(try test.database.int("SELECT count(*) FROM jam_preimages WHERE data IS NULL") == 1)
      _ = try await test.store.sweep()
      #expect(try await test.names() == [Data("good".utf8).digest])
      await #expect(throws: RunnerError.self) { try await test.read("no hash") }
      await #expect(throws: RunnerError.self) { try await test.read(hash(99)) }
    }
  }

  @Test("A blob that leaves its object, which is swept, and comes back to one of the same name is not missing")
  func backUnderTheSameName() async throws {
    try await withDirectoryStore { objects in
      let mover = try TestBlobStore(objects: objects)
      let content = Data("some content".utf8)
      let hash = try mover.putInline(content)
      try await mover.offload()
      var options = MoveOptions()
      options.minimumBytes = -1
      let moves = options
      func reader(interruptedReads count: Int) -> BlobStore {
        let store = InterruptedStore(base: objects, reads: .init(count)) {
          let restored = try await mover.store.restore(moves)
          let swept = try await mover.store.sweep()
          #expect(restored.moved.count == 1 && swept.deleted.count == 1)
        } afterFailure: {
          let moved = try await mover.offload()
          #expect(moved.moved.count == 1)
        }
        return mover.database.blobStore(store)
      }
      for count in 1...3 {
        var found = Data()
        let place = try await reader(interruptedReads: count).read(hash) {
          found.append(contentsOf: $0.readableBytesView)
        }
        #expect(found == content && place.objectKey == hash)
      }
      // The sweep asks the store, and so does a restore, which finds that the blob has moved.
      let summary = try await reader(interruptedReads: 1).restore(moves)
      #expect(summary.failed == 0 && summary.skipped == ["moved meanwhile": 1])
      try await objects.delete("preimages/\(hash)")
      await #expect(throws: RunnerError.self) { try await mover.read(hash) }
      #expect(try await mover.store.restore(moves).failed == 1)
    }
  }

  @Test("Somebody else puts the blob inline before an upload begins: it is said to be where it is")
  func inlineMeanwhile() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      try test.database.retention.setPolicy("offload_threshold_bytes", to: "0")
      let content = Data("some content".utf8)
      // Holds the lock of the hash, for which the upload waits when it has found no blob.
      let other = try test.database.connect()
      try other.execute("BEGIN")
      _ = try other.query("SELECT FROM jam_blob_upload_begin($1, 0)", content.digest)
      async let put = test.store.put(
        ObjectContent(ByteBuffer(bytes: content)),
        mediaType: "",
        uploader: "",
        usesObjectStore: true
      )
      while try test.database.int(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
      ) == 0 {
        await Task.yield()
      }
      try test.putInline(content)
      try other.execute("ROLLBACK")
      let result = try await put
      #expect(result.wasThere && result.storageClass == "db")
      #expect(try await test.names() == [])
    }
  }

  @Test("A row that another content was put into while it was moved stays as it is")
  func changedMeanwhile() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      let hash = try test.putInline(Data("some content".utf8))
      let begun = try test.database.connection.query("SELECT * FROM jam_blob_offload_begin(ARRAY[$1])", hash).first
      let upload = try #require(try begun?.int("upload_id"))
      try test.database.connection.execute("UPDATE jam_preimages SET data = 'another one', size = 11")
      let ended = try test.database.connection.query(
        "SELECT * FROM jam_blob_upload_complete(ARRAY[$1::bigint])",
        upload
      )
      #expect(try ended.first?.string("outcome") == "inline")
      #expect(try test.database.int("SELECT count(*) FROM jam_preimages WHERE data = 'another one'") == 1)
      #expect(try test.database.int("SELECT count(*) FROM jam_blob_deletions") == 1)
    }
  }

  /// SeaweedFS, because it does not compare what it receives with the hash that is signed.
  @Test(
    "A row that somebody else has moved since the offload began leaves the object alone",
    .enabled(if: (try? EmbeddedSeaweed.locate()) != nil, "SeaweedFS is not installed (make test-deps)"),
    arguments: [1, 2]
  )
  func movedMeanwhile(count: Int) async throws {
    let seaweed = try await EmbeddedSeaweed.start()
    defer { seaweed.stop() }
    let objects = try S3Client(seaweed.configuration(bucket: "moved"))
    try await objects.createBucket()
    let test = try TestBlobStore(objects: objects)
    let contents = (1...count).map { Data("content \($0)".utf8) }
    for content in contents {
      let hash = try test.putInline(content)
      let object = ObjectContent(ByteBuffer(bytes: content))
      try await objects.put("\(test.store.prefix)\(hash)", object, contentType: "text/plain")
    }
    // Stands for another program between the begin of the offload and its look at the rows.
    try test.database.connection.execute(
      """
      CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql SET application_name = 'jam_retention counting' AS $$
      BEGIN
        UPDATE public.jam_preimages SET data = NULL, storage_class = 's3' WHERE hash = NEW.hash;
        RETURN NULL;
      END $$;
      CREATE TRIGGER move AFTER INSERT ON jam_blob_uploads FOR EACH ROW EXECUTE FUNCTION move();
      """
    )
    let summary = try await test.offload()
    #expect(summary.moved.count == 0 && summary.failed == 0 && summary.skipped == ["moved meanwhile": count])
    for content in contents { #expect(try await test.read(content.digest) == content) }
    #expect(try await test.store.sweep().failed == 0)
    #expect(try await test.fsck() == [])
  }

  @Test("Who saves a row as it was before the offload does not give the object up")
  func staleRow() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      let content = Data("content".utf8)
      let hash = try test.putInline(content)
      try await test.offload()
      try test.database.connection.execute("UPDATE jam_preimages SET media_type = 'text/plain', storage_class = ''")
      #expect(try test.storageClass(hash) == "s3")
      #expect(try await test.store.sweep().deleted.count == 0)
      #expect(try await test.read(hash) == content)
      try test.database.expectLaw()
    }
  }

  @Test("An upload gives a row its content that came without")
  func rowWithoutContent() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      let hash = Data("content".utf8).digest
      func begin() throws -> Row? {
        try test.database.connection.query("SELECT * FROM jam_blob_upload_begin($1, 7)", hash).first
      }
      func complete(_ upload: Int?) throws -> String? {
        try test.database.connection.query("SELECT outcome FROM jam_blob_upload_complete(ARRAY[$1::bigint])", upload)
          .first?["outcome"]
      }
      let before = try begin()
      _ = try test.database.connection.query("INSERT INTO jam_preimages (hash, size) VALUES ($1, 1)", hash)
      #expect(try complete(before?.int("upload_id")) == "stored")
      #expect(try test.storageClass(hash) == "s3")
      #expect(try test.database.int("SELECT size FROM jam_preimages") == 7)
      #expect(try test.database.int("SELECT count(*) FROM jam_blob_deletions") == 0)
      #expect(try begin()?["outcome"] == "stored")
      // Also where the row was there before the upload began, and somebody uses it when it ends.
      try test.database.connection.execute("DELETE FROM jam_preimages; DELETE FROM jam_blob_deletions")
      _ = try test.database.connection.query("INSERT INTO jam_preimages (hash, size) VALUES ($1, 7)", hash)
      let after = try begin()
      #expect(after?["outcome"] == "upload")
      let other = try test.database.connect()
      try other.execute("BEGIN; SELECT FROM jam_preimages FOR UPDATE")
      #expect(try complete(after?.int("upload_id")) == "busy")
      try other.execute("COMMIT")
      #expect(try complete(after?.int("upload_id")) == "stored")
      #expect(try test.storageClass(hash) == "s3")
      try test.database.expectLaw()
    }
  }

  /// Moves two new blobs into the store, back and out again, and works off the deletions that are due, at most two at once.
  private func moveBlobs(_ content: String, in session: Connection) throws {
    let contents = ["\(content), first", "\(content), second"]
    let hashes = contents.map { Data($0.utf8).digest }
    func complete(_ uploads: [Int]) throws {
      let outcomes = try session.query("SELECT outcome FROM jam_blob_upload_complete($1::bigint[])", uploads).rows
      #expect(outcomes.map { $0["outcome"] } == ["stored", "stored"])
    }
    func restore() throws {
      for (hash, content) in zip(hashes, contents) {
        _ = try session.query("SELECT jam_blob_restore($1, convert_to($2, 'UTF8'))", hash, content)
      }
    }
    let begun = try zip(hashes, contents).map { hash, content in
      try #require(
        session.query("SELECT upload_id FROM jam_blob_upload_begin($1, $2)", hash, content.utf8.count).first
      ).int("upload_id")
    }
    try complete(begun)
    try restore()
    let moved = try session.query("SELECT upload_id FROM jam_blob_offload_begin($1::text[])", hashes).rows
    try complete(moved.map { try $0.int("upload_id") })
    try restore()
    let claimed = try session.query("SELECT deletion_id FROM jam_blob_deletions_claim(2)").rows.map {
      try $0.int("deletion_id")
    }
    try #require(claimed.count == 2)
    _ = try session.query("SELECT jam_blob_deletions_done(ARRAY[$1::bigint])", claimed[0])
    _ = try session.query("SELECT jam_blob_deletions_failed(ARRAY[$1::bigint], '')", claimed[1])
    _ = try session.query("SELECT jam_blob_deletions_add(ARRAY[$1, $2])", hashes[0], Data(content.utf8).digest)
  }

  /// By table, how often the session has read it all, and how many rows by an index.
  private func rowsRead(in session: Connection) throws -> [String: (scans: Int, rows: Int)] {
    let tables = try session.query(
      """
      SELECT relname, seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables
      WHERE relname IN ('jam_preimages', 'jam_archived_preimages', 'jam_blob_deletions', 'jam_blob_objects')
      """
    )
    return try Dictionary(
      uniqueKeysWithValues: tables.rows.map {
        (try $0.string("relname"), (try $0.int("seq_scan"), try $0.int("idx_tup_fetch")))
      }
    )
  }

  @Test(
    "Rows are looked up by their key, however many blobs there are, and deletions that are due",
    arguments: [true, false]
  )
  func looksUpByKey(beginsEarly: Bool) async throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let early = try database.connect()
    // A statement with parameters has one plan for all their values after the fifth time.
    for number in 1...6 { try moveBlobs("early \(number)", in: early) }
    try database.connection.execute("VACUUM (ANALYZE)")
    for number in 7...12 { try moveBlobs("early \(number)", in: early) }
    // Objects of blobs, of archived blobs, and of neither; the latter are to be deleted.
    try database.connection.execute(
      """
      INSERT INTO jam_preimages (hash, size, storage_class) SELECT encode(sha256(n::text::bytea), 'hex'), 1, 's3'
        FROM generate_series(1, 3000) AS n;
      INSERT INTO jam_archived_preimages (run_id, row_bytes, hash, size, media_type, created_at, uploader, storage_class,
          refcount, generation)
        SELECT 0, 1, encode(sha256(n::text::bytea), 'hex'), 1, '', now(), '', 's3', 0, 0 FROM generate_series(3001, 6000) AS n;
      INSERT INTO jam_blob_deletions (hash, generation, size) SELECT encode(sha256(n::text::bytea), 'hex'), 0, 1
        FROM generate_series(6001, 9000) AS n;
      INSERT INTO jam_blob_objects (hash, generation, next_generation) SELECT encode(sha256(n::text::bytea), 'hex'), 0, 1
        FROM generate_series(1, 9000) AS n;
      """
    )
    if !beginsEarly { try database.connection.execute("VACUUM (ANALYZE)") }
    let session = beginsEarly ? early : try database.connect()
    try session.execute("BEGIN")
    // What a session has read before is told only from time to time, and its own until then.
    let before = try rowsRead(in: session)
    try moveBlobs("late", in: session)
    let after = try rowsRead(in: session)
    #expect(after.count == 4)
    for (table, read) in after {
      // By an index a whole table can be read as well.
      let (scans, rows) = (read.scans - (before[table]?.scans ?? 0), read.rows - (before[table]?.rows ?? 0))
      #expect(scans == 0 && rows < 200, "\(table): \(scans) scans, \(rows) rows by an index")
    }
    try session.execute("ROLLBACK")
  }

  @Test("A size that no blob can have is refused before anything is uploaded", arguments: [-1, 1 << 62, nil])
  func absurdSize(size: Int?) throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let error = #expect(throws: PostgresError.self) {
      try database.connection.query("SELECT * FROM jam_blob_upload_begin($1, $2)", hash(1), size)
    }
    #expect(error?.sqlState == "22023")
    #expect(try database.int("SELECT count(*) FROM jam_blob_uploads") == 0)
    _ = try database.connection.query("SELECT * FROM jam_blob_upload_begin($1, $2)", hash(1), 1 << 46)
  }

  @Test("An uninstall that would forget objects is refused, and says what to do")
  func uninstall() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      let file = try #require(
        MigrationGenerator.files(for: test.database.model).first { $0.path == "uninstall/uninstall.sql" }
      )
      func uninstall() throws {
        do {
          try test.database.connection.execute("\(raw: file.text)")
        } catch {
          try test.database.connection.execute("ROLLBACK")
          throw error
        }
      }
      func expectRefused(_ part: String, _ location: SourceLocation = #_sourceLocation) throws {
        let error = try #require(throws: PostgresError.self, sourceLocation: location) { try uninstall() }
        #expect(error.sqlState == "55000" && "\(error)".contains(part), "\(error)", sourceLocation: location)
      }
      let hash = try test.putInline(Data("content".utf8), age: "60 days")
      _ = try test.database.connection.query("SELECT * FROM jam_blob_offload_begin(ARRAY[$1])", hash)
      try expectRefused("1 are being uploaded")
      try test.database.connection.execute("SELECT jam_blob_upload_abort(ARRAY(SELECT id FROM jam_blob_uploads))")
      try expectRefused("1 are being uploaded or wait to be deleted")
      // The store was asked and has not answered; so the next object has another name.
      _ = try test.database.connection.query("SELECT * FROM jam_blob_deletions_claim()")
      try await test.offload()
      try test.database.connection.execute("UPDATE jam_blob_deletions SET next_attempt_at = now()")
      #expect(try await test.store.sweep().waiting == 0)
      #expect(try await test.names() == ["\(hash).1"])
      try expectRefused("1 blobs are in objects with another name")
      try test.database.retention.setPolicy("archive_days", to: "1")
      #expect(try test.database.retention.cleanup().int("deleted_preimages") == 1)
      try expectRefused("1 objects are archived")
      try test.database.retention.setPolicy("archive_days", to: "0")
      _ = try test.database.retention.cleanup()
      #expect(try await test.store.sweep().deleted.count == 1)
      try uninstall()
      #expect(try test.database.int("SELECT count(*) FROM pg_class WHERE relname = 'jam_blob_objects'") == 0)
    }
  }

  @Test("A reader in a loop sees no error while blobs move out and back")
  func readersGoOn() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      var random = SeededGenerator(seed: 4)
      let contents = (0..<6).map { _ in Data.random(1_200_000, using: &random) }
      for content in contents { try test.putInline(content) }
      var options = MoveOptions()
      options.minimumBytes = -1
      options.concurrency = 2
      let moves = options
      try await withThrowingTaskGroup(of: Void.self) { group in
        for reader in 0..<2 {
          group.addTask {
            var round = 0
            while !Task.isCancelled {
              let content = contents[(round * 5 + reader) % contents.count]
              let found = try await test.read(content.digest)
              #expect(found == content)
              round += 1
            }
          }
        }
        for _ in 0..<3 {
          #expect(try await test.store.offload(moves).moved.count == contents.count)
          #expect(try await test.store.restore(moves).moved.count == contents.count)
          #expect(try await test.store.sweep().failed == 0)
        }
        group.cancelAll()
        do { try await group.waitForAll() } catch is CancellationError {}
      }
      #expect(try await test.names() == [])
    }
  }

  @Test("A put over a row without content brings the content, wherever it belongs; a read of such a row says so")
  func putOverNothing() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      try test.database.retention.setPolicy("offload_threshold_bytes", to: "1000")
      var random = SeededGenerator(seed: 21)
      for (size, storageClass) in [(500, "db"), (5000, "s3")] {
        let content = Data.random(size, using: &random)
        _ = try test.database.connection.query("INSERT INTO jam_preimages (hash, size) VALUES ($1, 7)", content.digest)
        let error = try await #require(throws: RunnerError.self) { _ = try await test.read(content.digest) }
        #expect(error.description.contains("has no content"))
        let put = try await test.put(content)
        #expect(!put.wasThere && put.storageClass == storageClass)
        #expect(try await test.read(content.digest) == content)
        #expect(try await test.store.location(of: content.digest)?.size == Int64(size))
      }
      #expect(try await test.fsck() == [])
    }
  }

  @Test("A put over a blob whose object the store has lost, or cut, writes it again")
  func putOverLostObject() async throws {
    try await withDirectoryStore { objects in
      let test = try TestBlobStore(objects: objects)
      try test.database.retention.setPolicy("offload_threshold_bytes", to: "1000")
      var random = SeededGenerator(seed: 22)
      let content = Data.random(5000, using: &random)
      #expect(try await test.put(content).storageClass == "s3")
      let key = "preimages/\(content.digest)"
      for damage in [nil, ByteBuffer(bytes: content.prefix(10))] {
        try await objects.delete(key)
        if let damage { try await objects.put(key, ObjectContent(damage), contentType: "") }
        #expect(try await test.fsck().map(\.kind) == [damage == nil ? .missing : .wrongSize])
        let put = try await test.put(content)
        #expect(put.wasThere && put.storageClass == "s3")
        #expect(try await test.read(content.digest) == content)
        #expect(try await test.fsck() == [])
      }
    }
  }

  @Test(
    "A media type that no header can hold stays in the row, and the blob moves",
    .enabled(if: (try? EmbeddedSeaweed.locate()) != nil, "SeaweedFS is not installed (make test-deps)")
  )
  func mediaTypeOfManyLines() async throws {
    let seaweed = try await EmbeddedSeaweed.start()
    defer { seaweed.stop() }
    let objects = try S3Client(seaweed.configuration(bucket: "types"))
    try await objects.createBucket()
    let test = try TestBlobStore(objects: objects)
    let content = Data("a content".utf8)
    try test.putInline(content)
    try test.database.connection.execute("UPDATE jam_preimages SET media_type = E'text/plain\\nx: y'")
    #expect(try await test.offload().moved.count == 1)
    #expect(try await test.store.location(of: content.digest)?.mediaType == "text/plain\nx: y")
    #expect(try await test.read(content.digest) == content)
  }

  @Test("One object that cannot be read stops neither a restore nor a deep fsck; a store that answers nothing does")
  func oneUnreadableObject() async throws {
    try await withDirectoryStore { base in
      let test = try TestBlobStore(objects: base)
      var random = SeededGenerator(seed: 23)
      let contents = [9000, 8000, 7000, 6000].map { Data.random($0, using: &random) }
      for content in contents { try test.putInline(content) }
      try await test.offload()
      let (refused, empty) = (contents[0].digest, contents[1].digest)
      try await base.delete("preimages/\(empty)")
      try await base.put("preimages/\(empty)", ObjectContent(ByteBuffer()), contentType: "")

      var deep = BlobStore.FsckOptions()
      deep.isDeep = true
      let partly = TestBlobStore(database: test.database, objects: RefusingStore(base: base, refused: [refused]))
      let findings = try await partly.fsck(deep)
      #expect(
        Set(findings.map { "\($0.kind.rawValue) \($0.key.suffix(64))" }) == [
          "unreadable \(refused)", "wrong size \(empty)",
        ]
      )
      var all = MoveOptions()
      all.minimumBytes = -1
      let silent = TestBlobStore(
        database: test.database,
        objects: RefusingStore(base: base, refused: contents.map(\.digest), lists: false)
      )
      await #expect(throws: ObjectStoreError.self) { _ = try await silent.store.restore(all) }
      let summary = try await partly.store.restore(all)
      #expect(summary.moved.count == 2 && summary.failed == 2)
      #expect(try await test.read(contents[3].digest) == contents[3])
    }
  }

  @Test("An upload that takes longer than its lease counts as failed, and what it has written is queued for deletion")
  func lateUpload() async throws {
    try await withDirectoryStore { base in
      let database = try TestDatabase()
      _ = try database.migrate()
      let connection = try database.connect()
      // Another program's sweep finds the lease over while the object is being written.
      let objects = InterruptedStore(
        base: base,
        beforePut: {
          try connection.execute("UPDATE jam_blob_uploads SET expires_at = now()")
          _ = try await database.blobStore(base).sweep()
        }
      )
      let test = TestBlobStore(database: database, objects: objects)
      try test.putInline(Data("a content".utf8))
      let summary = try await test.offload()
      #expect(summary.failed == 1 && summary.moved.count == 0)
      #expect(try await test.names().count == 1)
      #expect(try await test.store.sweep().deleted.count == 1)
      #expect(try await test.names() == [])
    }
  }
}
