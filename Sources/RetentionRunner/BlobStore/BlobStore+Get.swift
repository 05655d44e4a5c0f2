import Crypto
import NIOCore
import ObjectStore
import Postgres
import SafeSQL

extension BlobStore {
  /// How often a blob may move while it is read.
  private static let maximumMoves = 10
  /// How often an object is looked for at the same place.
  private static let looks = 3

  /// Where a blob is; nil: there is none with this hash.
  ///
  /// - Throws: ``RunnerError`` when that is no hash; `PostgresError`.
  public func location(of hash: String) async throws -> BlobLocation? {
    try Self.check(hash)
    return try await location(of: hash, on: connection())
  }

  /// Hands out a blob's content piece by piece, from wherever it is, and checks its hash.
  ///
  /// A blob may move while it is read: then the rest comes from its new place. What was handed out before an error is not
  /// to be trusted.
  ///
  /// - Throws: ``RunnerError`` when there is no such blob, its object is missing, or the content has another hash; what
  ///   the sink, the database or the object store throws.
  @discardableResult
  public func read(_ hash: String, into sink: (ByteBuffer) async throws -> Void) async throws -> BlobLocation {
    try Self.check(hash)
    let connection = try await connection()
    guard var place = try await location(of: hash, on: connection) else {
      throw RunnerError("there is no blob with the hash \(hash)")
    }
    var digest = SHA256()
    var offset: Int64 = 0
    for _ in 0...Self.maximumMoves {
      do {
        var isThere = false
        for try await piece in try await content(at: place, from: offset, on: connection) {
          isThere = true
          digest.update(piece)
          offset += Int64(piece.readableBytes)
          try await sink(piece)
        }
        if isThere || offset == place.size {
          try check(digest, of: place)
          return place
        }
      } catch let error as ObjectStoreError where error.kind == .notFound {
        if try await isMissing(place, on: connection) {
          throw RunnerError("the content of \(hash) is missing, run fsck: \(error)")
        }
      } catch let error as ObjectStoreError where error.kind == .invalidRange {
        throw RunnerError("the content of \(hash) in the object store is damaged, run fsck: \(error)")
      }
      guard let next = try await location(of: hash, on: connection) else {
        throw RunnerError("the blob \(hash) was deleted while it was read")
      }
      if next == place, place.objectKey == nil, offset == 0, try await !hasContent(place, on: connection) {
        throw RunnerError("the blob \(hash) has no content: nobody has put more than its row; put the content")
      }
      place = next
    }
    throw RunnerError("the blob \(hash) moved \(Self.maximumMoves) times while it was read; try again")
  }

  func location(of hash: String, on connection: BackgroundConnection) async throws -> BlobLocation? {
    let rows = try await connection.query(
      "SELECT size, media_type, object_key, created_at FROM \(names.qualified("blob_locations")) WHERE hash = \(asKey("$1"))",
      hash
    )
    return try rows.first.map { row in
      BlobLocation(
        hash: hash,
        size: Int64(try row.int("size")),
        mediaType: try row.string("media_type"),
        objectKey: row["object_key"],
        createdAt: try row.string("created_at")
      )
    }
  }

  /// Whether a blob that has no object has its content in its row; of one that has moved meanwhile the object counts.
  func hasContent(_ place: BlobLocation, on connection: BackgroundConnection) async throws -> Bool {
    let rows = try await connection.query(
      """
      SELECT FROM \(table) AS b
      WHERE b.\(key) = \(asKey("$1")) AND (b.\(data) IS NOT NULL OR b.\(Identifier(blobs.storageClass)) = 's3')
      """,
      place.hash
    )
    return !rows.isEmpty
  }

  /// Throws when the store does not answer at all: then it is no use to go on with the next object.
  func checkStore() async throws {
    _ = try await objects.list(prefix: prefix, after: nil)
  }

  /// Whether a blob's object, which was not found, is not there while the blob is.
  func isMissing(_ place: BlobLocation, on connection: BackgroundConnection) async throws -> Bool {
    guard let objectKey = place.objectKey else { return false }
    return try await isMissing(objectKey) { try await location(of: place.hash, on: connection) == place }
  }

  /// Whether an object is not there while it is needed.
  ///
  /// Between two looks a blob can leave its object, which is swept, and come back to one of the same name. That takes many
  /// requests, so that it does not happen between all of a few looks.
  func isMissing(_ objectKey: String, isNeeded: () async throws -> Bool) async throws -> Bool {
    for _ in 0..<Self.looks {
      guard try await isNeeded(), try await objects.head(prefix + objectKey) == nil else { return false }
    }
    return try await isNeeded()
  }

  /// The content at a place from an offset on; nothing, not even an empty piece, when a row has none any more.
  private func content(
    at place: BlobLocation,
    from offset: Int64,
    on connection: BackgroundConnection
  ) async throws -> ByteStream {
    guard let objectKey = place.objectKey else { return inlineContent(of: place.hash, from: offset, on: connection) }
    guard offset < place.size else { return ByteStream(ByteBuffer()) }
    return try await objects.get(prefix + objectKey, range: offset..<place.size).body
  }

  private func check(_ digest: SHA256, of place: BlobLocation) throws {
    let found = digest.finalize().hexadecimal
    guard found == place.hash else {
      let store = place.objectKey == nil ? "its row" : "the object store"
      throw RunnerError("the content of \(place.hash) in \(store) is damaged: its hash is \(found); run fsck --deep")
    }
  }
}

extension ObjectStoreError {
  /// Whether others may be read although this one was not: it is on a volume that is lost, or in an archive of the store.
  var mayBeOfOneObject: Bool {
    [.unavailable, .accessDenied, .refused, .invalidRange, .contentMismatch].contains(kind)
  }
}
