import Foundation
import Crypto
import ObjectStore
import Postgres

extension BlobStore {
  /// What to look at, and what to do about it.
  public struct FsckOptions: Sendable {
    /// Whether every object is read and hashed.
    public var isDeep = false
    /// Whether orphans are queued for deletion.
    public var repairs = false
    /// Seconds for which an object that nobody knows may be one that is being written by somebody else.
    public var graceSeconds: Double = 86400

    /// The defaults.
    public init() {}
  }

  /// What was compared.
  public struct Fsck: Sendable {
    /// Objects in the store.
    public var objects = TransferProgress.Amount()
    /// Blobs whose content belongs there, those in the archive too.
    public var blobs = 0
    /// Orphans that were queued for deletion.
    public var queued = 0
  }

  private static let page = 1000

  /// Compares the object store with the database, both in the order of their keys, and reports where they differ.
  ///
  /// What moves meanwhile is looked at again before it is reported.
  ///
  /// - Throws: `ObjectStoreError`, `PostgresError`.
  public func fsck(
    _ options: FsckOptions,
    progress: TransferProgress? = nil,
    report: (FsckFinding) throws -> Void
  ) async throws -> Fsck {
    let connection = try await connection()
    var result = Fsck()
    try await connection.run { [names] connection in
      try connection.execute(
        """
        DECLARE jam_objects CURSOR WITH HOLD FOR
        SELECT DISTINCT ON (object_key COLLATE "C") object_key, size FROM \(names.qualified("blob_needed_objects"))
        ORDER BY object_key COLLATE "C"
        """
      )
    }
    let grace = Date(timeIntervalSinceNow: -options.graceSeconds)
    var known: ArraySlice<Row> = []
    var hasMore = true
    /// Blobs whose objects come before this name in the order, or all: the store does not have them.
    func expected(before name: String?) async throws -> Row? {
      if known.isEmpty, hasMore {
        known += try await connection.query("FETCH \(Self.page) FROM jam_objects")
        hasMore = !known.isEmpty
      }
      guard let row = known.first else { return nil }
      let key = try row.string("object_key")
      if let name, !key.utf8.lexicographicallyPrecedes(name.utf8), key != name { return nil }
      known = known.dropFirst()
      return row
    }
    var orphans: [ListedObject] = []
    var page: String?
    repeat {
      try Task.checkCancellation()
      let listing = try await objects.list(prefix: prefix, after: page)
      for object in listing.objects {
        result.objects.count += 1
        result.objects.bytes += object.size
        let name = String(object.key.dropFirst(prefix.count))
        var isKnown = false
        while let row = try await expected(before: name) {
          result.blobs += 1
          guard try row.string("object_key") == name else {
            try await reportMissing(row, on: connection, report)
            continue
          }
          isKnown = true
          try await check(object, as: name, size: Int64(row.int("size")), options, report)
          break
        }
        progress?.add(count: 1, bytes: object.size)
        if !isKnown {
          if name.wholeMatch(of: /[0-9a-f]{64}(\.[1-9][0-9]{0,8})?/) == nil {
            try report(FsckFinding(kind: .foreign, key: object.key, size: object.size))
          } else if object.lastModified < grace {
            orphans.append(object)
          }
        }
        if orphans.count >= Self.page { result.queued += try await handle(&orphans, options, on: connection, report) }
      }
      page = listing.next
    } while page != nil
    while let row = try await expected(before: nil) {
      result.blobs += 1
      try await reportMissing(row, on: connection, report)
    }
    result.queued += try await handle(&orphans, options, on: connection, report)
    return result
  }

  private func reportMissing(
    _ row: Row,
    on connection: BackgroundConnection,
    _ report: (FsckFinding) throws -> Void
  ) async throws {
    let name = try row.string("object_key")
    // It may have been written after the listing, or the blob may have gone.
    let isMissing = try await self.isMissing(name) {
      let needed = try await connection.query(
        "SELECT FROM \(names.qualified("blob_needed_objects")) WHERE hash = \(asKey("$1")) AND object_key = $2",
        String(name.prefix(64)),
        name
      )
      return !needed.isEmpty
    }
    guard isMissing else { return }
    try report(FsckFinding(kind: .missing, key: prefix + name, size: Int64(row.int("size"))))
  }

  private func check(
    _ object: ListedObject,
    as name: String,
    size: Int64,
    _ options: FsckOptions,
    _ report: (FsckFinding) throws -> Void
  ) async throws {
    guard object.size == size else {
      return try report(FsckFinding(kind: .wrongSize, key: object.key, size: object.size))
    }
    guard options.isDeep else { return }
    var digest = SHA256()
    do {
      for try await piece in try await objects.get(object.key).body { digest.update(piece) }
    } catch let error as ObjectStoreError where error.kind == .notFound {
      // It has moved back into its row and was swept since.
      return
    } catch let error as ObjectStoreError where error.mayBeOfOneObject {
      try await checkStore()
      logger.warning("object not read", metadata: ["key": "\(object.key)", "error": "\(error)"])
      return try report(FsckFinding(kind: .unreadable, key: object.key, size: object.size))
    }
    if digest.finalize().hexadecimal != name.prefix(64) {
      try report(FsckFinding(kind: .damaged, key: object.key, size: object.size))
    }
  }

  /// Reports those objects that nothing in the database knows, and queues them where that is wanted.
  private func handle(
    _ orphans: inout [ListedObject],
    _ options: FsckOptions,
    on connection: BackgroundConnection,
    _ report: (FsckFinding) throws -> Void
  ) async throws -> Int {
    defer { orphans = [] }
    guard !orphans.isEmpty else { return 0 }
    let objects = Dictionary(orphans.map { (String($0.key.dropFirst(prefix.count)), $0) }) { $1 }
    // Those that are being written or wait for their deletion have their place in the database.
    let unknown = try await connection.query(
      """
      SELECT k.name
      FROM (
        SELECT n AS name, \(asKey("left(n, 64)")) AS hash, coalesce(nullif(substr(n, 66), ''), '0')::integer AS generation
        FROM unnest($1::text[]) AS n
      ) AS k
      WHERE NOT EXISTS (SELECT FROM \(names.qualified("blob_needed_objects")) AS b WHERE b.hash = k.hash AND b.object_key = k.name)
        AND NOT EXISTS (SELECT FROM \(names.qualified("blob_uploads")) AS u WHERE u.hash = k.hash AND u.generation = k.generation)
        AND NOT EXISTS (SELECT FROM \(names.qualified("blob_deletions")) AS d WHERE d.hash = k.hash AND d.generation = k.generation)
      ORDER BY k.name COLLATE "C"
      """,
      objects.keys.sorted()
    ).map { try $0.string("name") }
    for object in unknown.compactMap({ objects[$0] }) {
      try report(FsckFinding(kind: .orphaned, key: object.key, size: object.size))
    }
    guard options.repairs, !unknown.isEmpty else { return 0 }
    return try await connection.query("SELECT \(names.qualified("blob_deletions_add"))($1::text[]) AS n", unknown)
      .first?
      .int("n") ?? 0
  }
}
