import EmbeddedMoto
import EmbeddedSeaweed
import Foundation
import NIOCore
import ObjectStore
import Postgres
import RetentionRunner
import SafeSQL
import Testing

/// Everything that a blob goes through, many of them, on real stores: `make blobs COUNT=n MOTO=n`.
@Suite(.serialized) struct ManyBlobsTests {
  private static let hasSeaweed = (try? EmbeddedSeaweed.locate()) != nil

  private static func count(_ variable: String) -> Int? {
    ProcessInfo.processInfo.environment[variable].flatMap(Int.init)
  }

  @Test(
    "SeaweedFS: put, offloaded, read, cleaned, swept; nothing is missing, nothing left over",
    .enabled(if: hasSeaweed, "SeaweedFS is not installed (make test-deps)")
  )
  func seaweed() async throws {
    let server = try await EmbeddedSeaweed.start()
    defer { server.stop() }
    try await everyPhase("SeaweedFS", server.configuration(bucket: "blobs"), Self.count("JAM_BLOBS"))
  }

  @Test(
    "moto, for AWS's dialect: the same",
    .enabled(if: EmbeddedMoto.program != nil, "moto is not installed (make test-deps)")
  )
  func moto() async throws {
    let server = try await EmbeddedMoto.start()
    defer { server.stop() }
    try await everyPhase("moto", server.configuration(bucket: "blobs"), Self.count("JAM_BLOBS_MOTO"))
  }

  /// - Parameter count: blobs besides those of the data set; nil: a few small ones.
  private func everyPhase(_ title: String, _ configuration: S3Configuration, _ count: Int?) async throws {
    let client = try S3Client(configuration)
    try await client.createBucket()
    let test = try TestBlobStore(objects: client)
    try test.database.retention.setPolicy("offload_threshold_bytes", to: "0")
    try Dataset.current.load(into: test.database)
    // Their references are not what this is about; the contents are.
    try test.database.connection.execute("TRUNCATE jam_services CASCADE")
    let blobs = BlobSample(count: count ?? 100, largest: count == nil ? 16 << 20 : 64 << 20)
    var figures: [String] = []
    let clock = ContinuousClock()
    var lap = clock.now
    func note(_ phase: String, _ text: String) {
      figures.append("\(phase): \(text), \(String(format: "%.1f", (clock.now - lap) / .seconds(1))) s")
      lap = clock.now
    }

    note("data set", "\(try test.database.int("SELECT count(*) FROM jam_preimages")) blobs")
    for number in blobs.inline { try test.putInline(blobs.content(number)) }
    note("inline", "\(blobs.inline.count) blobs")
    try await concurrently(blobs.direct) { number in
      let content = blobs.content(number)
      let put = try await test.store.put(
        ObjectContent(ByteBuffer(bytes: content)),
        mediaType: "application/octet-stream",
        uploader: "",
        usesObjectStore: true
      )
      #expect(put.storageClass == "s3" && !put.wasThere && put.hash == content.digest)
    }
    note("put", "\(blobs.direct.count) blobs")
    let inline = try test.database.int("SELECT count(*) FROM jam_preimages WHERE data IS NOT NULL")
    let moved = try await test.offload()
    #expect(moved.moved.count == inline && moved.failed == 0 && moved.skipped.isEmpty)
    note("offload", "\(moved.moved.count) blobs, \(ByteCount.text(moved.moved.bytes))")

    let hashes = try test.database.connection.query("SELECT hash, storage_class FROM jam_preimages").rows
    #expect(hashes.count >= blobs.count && hashes.allSatisfy { $0["storage_class"] == "s3" })
    // The reader compares every content with its hash, and throws where it differs.
    let hashesToRead = try hashes.map { try $0.string("hash") }
    try await concurrently(hashesToRead) { hash in try await test.store.read(hash) { _ in } }
    let total = try test.database.int("SELECT sum(size)::bigint FROM jam_preimages")
    note("read", "\(hashes.count) blobs, \(ByteCount.text(Int64(total)))")
    #expect(try await test.names().count == hashes.count)

    // A tenth is referred to, and stays.
    let kept = hashesToRead.enumerated().filter { $0.offset % 10 == 0 }.map(\.element)
    for start in stride(from: 0, to: kept.count, by: 100) {
      try test.database.submit(Array(kept[start..<min(start + 100, kept.count)]), age: "-1 days")
    }
    let run = try test.database.retention.cleanup(cutoff: "now")
    #expect(try run.int("deleted_preimages") == hashes.count - kept.count)
    note("cleanup", "\(try run.int("deleted_preimages")) blobs")
    let sweep = try await test.store.sweep()
    #expect(sweep.deleted.count == hashes.count - kept.count && sweep.failed == 0 && sweep.waiting == 0)
    note("sweep", "\(sweep.deleted.count) objects, \(ByteCount.text(sweep.deleted.bytes))")
    #expect(try await test.names().sorted() == kept.sorted())
    var options = BlobStore.FsckOptions()
    options.isDeep = true
    #expect(try await test.fsck(options) == [])
    note("fsck --deep", "\(kept.count) objects")
    try test.database.expectLaw()
    print("\(title): \(figures.joined(separator: "; "))")
  }

  /// Several at once, as several clients are.
  private func concurrently<Item: Sendable>(
    _ items: [Item],
    _ body: @escaping @Sendable (Item) async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for worker in 0..<8 {
        group.addTask {
          for index in stride(from: worker, to: items.count, by: 8) { try await body(items[index]) }
        }
      }
      try await group.waitForAll()
    }
  }
}
