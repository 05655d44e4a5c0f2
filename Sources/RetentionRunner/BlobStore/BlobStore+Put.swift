import Foundation
import NIOCore
import ObjectStore
import Postgres
import SafeSQL
import Synchronization

extension BlobStore {
  /// What became of a content that was put.
  public struct Put: Sendable {
    /// The content's hash.
    public let hash: String
    /// Bytes.
    public let size: Int64
    /// Whether the blob was there before; it counts as put now.
    public let wasThere: Bool
    /// Where it is now: `db` or `s3`.
    public let storageClass: String
  }

  /// How often an upload begins again whose lease ended before it did.
  private static let maximumAttempts = 3

  /// Puts a content: into its row up to the policy's threshold, else where new uploads belong.
  ///
  /// - Parameters:
  ///   - usesObjectStore: whether a content over the threshold goes into the object store.
  /// - Throws: `ObjectStoreError`, `PostgresError`, ``RunnerError``; then nothing refers to what may have been written.
  public func put(
    _ content: ObjectContent,
    mediaType: String,
    uploader: String,
    usesObjectStore: Bool,
    progress: TransferProgress? = nil
  ) async throws -> Put {
    let connection = try await connection()
    let hash = content.sha256
    // Of no use for anything but the touch: the blob may be here already.
    let missing = try await connection.query(
      "SELECT FROM \(names.qualified("touch_\(blobs.plural)"))(ARRAY[\(asKey("$1"))])",
      hash
    )
    if missing.isEmpty, let place = try await wholeLocation(of: content, mediaType, progress, on: connection) {
      return Put(hash: hash, size: content.size, wasThere: true, storageClass: place.storageClass)
    }
    let policy = try await connection.query(
      "SELECT offload_threshold_bytes FROM \(names.qualified("retention_policy"))"
    )
    let threshold = Int64(try policy.first?.int("offload_threshold_bytes") ?? 0)
    guard usesObjectStore, content.size > threshold else {
      return try await putInline(content, mediaType, uploader, progress, on: connection)
    }
    return try await putObject(content, mediaType, uploader, progress, on: connection)
  }

  /// Where a blob's whole content is; nil: the blob is not here, or its row has no content. An object that the store has
  /// lost is written again: it has the blob's name, and under this name nothing else can be right.
  private func wholeLocation(
    of content: ObjectContent,
    _ mediaType: String,
    _ progress: TransferProgress?,
    on connection: BackgroundConnection
  ) async throws -> BlobLocation? {
    guard let place = try await location(of: content.sha256, on: connection) else { return nil }
    guard let objectKey = place.objectKey else {
      return try await hasContent(place, on: connection) ? place : nil
    }
    // Who has no store at hand cannot look.
    guard hasObjects, try await objects.head(prefix + objectKey)?.size != content.size else { return place }
    logger.warning(
      "object of a blob written again",
      metadata: ["hash": "\(place.hash)"]
    )
    try await store(content, as: objectKey, mediaType, progress)
    // If the blob has moved meanwhile, it is where it was moved to, and what was written is an orphan that fsck finds.
    return try await location(of: content.sha256, on: connection)
  }

  private func putObject(
    _ content: ObjectContent,
    _ mediaType: String,
    _ uploader: String,
    _ progress: TransferProgress?,
    on connection: BackgroundConnection
  ) async throws -> Put {
    for _ in 1...Self.maximumAttempts {
      let begun = try await connection.query(
        """
        SELECT outcome, upload_id, object_key
        FROM \(names.qualified("blob_upload_begin"))(\(asKey("$1")), $2::bigint, $3, $4, make_interval(secs => $5::integer))
        """,
        content.sha256,
        content.size,
        mediaType,
        uploader,
        Self.leaseSeconds(content.size)
      )
      guard let row = begun.first, try row.string("outcome") == "upload" else {
        // Somebody else has put it meanwhile; one that has gone again is put once more.
        guard let place = try await wholeLocation(of: content, mediaType, progress, on: connection) else { continue }
        return Put(hash: content.sha256, size: content.size, wasThere: true, storageClass: place.storageClass)
      }
      let upload = try row.int("upload_id")
      do {
        try await store(content, as: try row.string("object_key"), mediaType, progress)
      } catch {
        await abort([upload], on: connection)
        throw error
      }
      let outcome = try await complete([upload], on: connection)[upload]
      switch outcome {
      case "stored": return Put(hash: content.sha256, size: content.size, wasThere: false, storageClass: "s3")
      case "inline": return Put(hash: content.sha256, size: content.size, wasThere: true, storageClass: "db")
      // The lease was over, and what was written may be deleted by now: once more.
      default: continue
      }
    }
    throw RunnerError(
      "the upload of \(content.sha256) took longer than its lease \(Self.maximumAttempts) times; is the object store slow?"
    )
  }

  private func putInline(
    _ content: ObjectContent,
    _ mediaType: String,
    _ uploader: String,
    _ progress: TransferProgress?,
    on connection: BackgroundConnection
  ) async throws -> Put {
    try await staging(content, progress, on: connection) { connection, whole in
      let inserted = try connection.query(
        """
        INSERT INTO \(table) (\(key), \(Identifier(blobs.size)), \(Identifier(blobs.mediaType)), \(data), \(Identifier(blobs.storageClass)), \(Identifier(blobs.createdAt))\(hasUploader ? ", uploader" : ""))
        SELECT \(asKey("$1")), $2::bigint, $3, c.bytes, 'db', now()\(hasUploader ? ", $4" : "")
        FROM (SELECT \(whole) AS bytes OFFSET 0) AS c
        WHERE encode(sha256(c.bytes), 'hex') = $1 AND $4::text IS NOT NULL
        ON CONFLICT (\(key)) DO UPDATE SET \(data) = coalesce(\(table).\(data), EXCLUDED.\(data)),
          \(Identifier(blobs.size)) = CASE WHEN \(table).\(data) IS NULL THEN EXCLUDED.\(Identifier(blobs.size)) ELSE \(table).\(Identifier(blobs.size)) END
        """,
        parameters: [content.sha256, content.size, mediaType, uploader]
      )
      guard inserted.rowsAffected == 1 else {
        throw RunnerError(
          "the content changed while it was read: its hash is not \(content.sha256) any more; nothing was stored"
        )
      }
    }
    return Put(hash: content.sha256, size: content.size, wasThere: false, storageClass: "db")
  }

  /// Seconds that an upload may take: a quarter of an hour, and more where it is large, at 256 KiB a second, or at the rate
  /// that it may have where that is less.
  static func leaseSeconds(_ bytes: Int64, at rate: Int64 = .max) -> Int {
    900 + Int(bytes / min(256 << 10, max(1, rate)))
  }

  /// Writes an object, and returns when the store has confirmed it.
  func store(
    _ content: ObjectContent,
    as objectKey: String,
    _ mediaType: String,
    _ progress: TransferProgress?,
    at rate: RateLimit? = nil
  ) async throws {
    let sent = Mutex<Int64>(0)
    let counted = ObjectContent(size: content.size, sha256: content.sha256) { range in
      // What an attempt has sent that failed does not count.
      let failed = sent.withLock { sent in
        defer { sent = 0 }
        return sent
      }
      progress?.add(bytes: -failed)
      let pieces = try await content.open(range)
      return ByteStream(
        pieces.map { piece in
          let count = piece.readableBytes
          try await rate?.pass(count)
          sent.withLock { $0 += Int64(count) }
          progress?.add(bytes: Int64(count))
          return piece
        }
      )
    }
    // What no header can hold stays in the row.
    let isHeader =
      !mediaType.isEmpty && !mediaType.unicodeScalars.contains { $0.properties.generalCategory == .control }
    let contentType = isHeader ? mediaType : "application/octet-stream"
    try await objects.put(prefix + objectKey, counted, contentType: contentType)
  }

  /// What became of each upload.
  func complete(_ uploads: [Int], on connection: BackgroundConnection) async throws -> [Int: String] {
    let rows = try await connection.query(
      "SELECT upload_id, outcome FROM \(names.qualified("blob_upload_complete"))($1::bigint[])",
      uploads
    )
    return try Dictionary(rows.map { (try $0.int("upload_id"), try $0.string("outcome")) }) { $1 }
  }

  /// Gives uploads up. Where that fails, too, their leases end by themselves.
  func abort(_ uploads: [Int], on connection: BackgroundConnection) async {
    do {
      try await connection.abandonStream()
      _ = try await connection.query("SELECT \(names.qualified("blob_upload_abort"))($1::bigint[])", uploads)
    } catch {
      logger.debug("an upload could not be given up, its lease will end: \(error)")
    }
  }

  /// Sends a content to the server in pieces, and runs the body in the same transaction with an expression for the whole:
  /// a statement with all of it in a parameter would need several times its size in memory here.
  func staging<Value: Sendable>(
    _ content: ObjectContent,
    _ progress: TransferProgress?,
    on connection: BackgroundConnection,
    _ body: @escaping @Sendable (Connection, SQL) throws -> Value
  ) async throws -> Value {
    let pieces: SQL = "pg_temp.jam_retention_pieces"
    try await connection.run { connection in
      try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
      try connection.execute(
        "CREATE TEMPORARY TABLE jam_retention_pieces (number integer, piece bytea) ON COMMIT DROP"
      )
    }
    do {
      var number = 0
      for try await piece in try await content.open(0..<content.size) {
        number += 1
        let (position, bytes) = (number, Data(piece.readableBytesView))
        try await connection.run { connection in
          _ = try connection.query("INSERT INTO \(pieces) VALUES ($1::integer, $2::bytea)", position, bytes)
        }
        progress?.add(bytes: Int64(piece.readableBytes))
      }
      return try await connection.run { connection in
        let value = try body(
          connection,
          "(SELECT coalesce(string_agg(p.piece, ''::bytea ORDER BY p.number), '') FROM \(pieces) AS p)"
        )
        try connection.execute("COMMIT")
        return value
      }
    } catch {
      // What was thrown says more than why there is nothing left to roll back.
      _ = try? await connection.run { try $0.execute("ROLLBACK") }
      throw error
    }
  }
}
