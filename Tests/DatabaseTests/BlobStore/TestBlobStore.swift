import Crypto
import Foundation
import Logging
import NIOCore
import ObjectStore
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// A database with the migrations, and a store for its objects.
struct TestBlobStore {
  let database: TestDatabase
  let objects: any ObjectStore
  let store: BlobStore

  /// - Parameter objects: default: a new directory, which is removed with the folder.
  init(_ mode: RefcountingMode = .immediate, objects: any ObjectStore) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    self.init(database: database, objects: objects)
  }

  /// A store beside a database that has the migrations.
  init(database: TestDatabase, objects: any ObjectStore) {
    self.database = database
    self.objects = objects
    store = database.blobStore(objects)
  }

  /// Puts a content inline, as a client does, and returns its hash.
  @discardableResult
  func putInline(_ content: Data, age: String = "0") throws -> String {
    let hash = content.digest
    _ = try database.connection.query(
      """
      INSERT INTO jam_preimages (hash, size, data, created_at, refcount)
      VALUES ($1, $2::bigint, $3::bytea, now() - $4::interval, 1)
      ON CONFLICT (hash) DO UPDATE SET refcount = jam_preimages.refcount + 1, size = EXCLUDED.size, data = EXCLUDED.data
      """,
      hash,
      content.count,
      content,
      age
    )
    return hash
  }

  /// Puts a content as the program does, above the policy's threshold into the object store.
  func put(_ content: Data) async throws -> BlobStore.Put {
    try await store.put(
      ObjectContent(ByteBuffer(bytes: content)),
      mediaType: "",
      uploader: "",
      usesObjectStore: true
    )
  }

  /// What a reader gets, whose hash was checked.
  func read(_ hash: String) async throws -> Data {
    var content = Data()
    try await store.read(hash) { content.append(contentsOf: $0.readableBytesView) }
    return content
  }

  /// All objects of the store, without the prefix.
  func names() async throws -> [String] {
    var names: [String] = []
    var page: String?
    repeat {
      let listing = try await objects.list(prefix: store.prefix, after: page)
      names += listing.objects.map { String($0.key.dropFirst(store.prefix.count)) }
      page = listing.next
    } while page != nil
    return names
  }

  func fsck(_ options: BlobStore.FsckOptions = .init()) async throws -> [FsckFinding] {
    var findings: [FsckFinding] = []
    _ = try await store.fsck(options) { findings.append($0) }
    return findings
  }

  /// Moves everything that is larger than so many bytes.
  @discardableResult
  func offload(over bytes: Int64 = -1) async throws -> MoveSummary {
    var options = MoveOptions()
    options.minimumBytes = bytes
    return try await store.offload(options)
  }

  func storageClass(_ hash: String) throws -> String? {
    try database.connection.query("SELECT storage_class FROM jam_blob_locations WHERE hash = $1", hash).first?[
      "storage_class"
    ]
  }
}

extension TestDatabase {
  func blobStore(_ objects: any ObjectStore, options: String = "") -> BlobStore {
    BlobStore(model: model, objects: .success(objects), prefix: "preimages/", logger: Self.logger) {
      try connect(options)
    }
  }
}

extension Data {
  /// SHA-256 in lower-case hex.
  var digest: String { SHA256.hash(data: self).map { String(format: "%02x", $0) }.joined() }

  /// Bytes that nothing compresses.
  static func random(_ count: Int, using random: inout some RandomNumberGenerator) -> Data {
    var words = [UInt64](repeating: 0, count: (count + 7) / 8)
    for index in words.indices { words[index] = random.next() }
    return words.withUnsafeBytes { Data($0.prefix(count)) }
  }
}

/// Runs the body with a store in a directory of its own.
func withDirectoryStore(_ body: (DirectoryStore) async throws -> Void) async throws {
  let folder = FileManager.default.temporaryDirectory.appending(path: "jam-objects-\(UUID().uuidString)")
  defer { try? FileManager.default.removeItem(at: folder) }
  let store = DirectoryStore(directory: folder.path)
  try await store.create()
  try await body(store)
}
