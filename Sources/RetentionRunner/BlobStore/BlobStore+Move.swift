import ObjectStore
import Postgres
import SafeSQL

extension BlobStore {
  /// Moves blobs of more than `minimumBytes` from their rows into the object store, the largest first.
  ///
  /// Can be stopped at any point, by cancelling the task too, and started again: a row becomes external only when the
  /// store has confirmed its object, and what was written for nothing is queued for deletion.
  ///
  /// - Throws: `ObjectStoreError` when the store takes nothing; `PostgresError`. A blob that cannot be moved by itself
  ///   only counts as failed.
  public func offload(_ options: MoveOptions, progress: TransferProgress? = nil) async throws -> MoveSummary {
    let candidates: SQL = """
      SELECT \(asHex("b.\(key)")) AS hash, octet_length(b.\(data))::bigint AS size FROM \(table) AS b
      WHERE b.\(data) IS NOT NULL AND octet_length(b.\(data)) > \(options.minimumBytes)
      """
    return try await move(candidates, options, progress, offload)
  }

  /// Moves blobs of more than `minimumBytes` from the object store back into their rows, the largest first.
  ///
  /// - Throws: as ``offload(_:progress:)`` does.
  public func restore(_ options: MoveOptions, progress: TransferProgress? = nil) async throws -> MoveSummary {
    let candidates: SQL = """
      SELECT \(asHex("b.hash")) AS hash, b.size FROM \(names.qualified("blob_locations")) AS b
      WHERE b.object_key IS NOT NULL AND b.size > \(options.minimumBytes)
      """
    return try await move(candidates, options, progress, restore)
  }

  /// What a worker does with a batch.
  private typealias Work =
    @Sendable (
      _ batch: [MoveCandidates.Candidate], _ pace: Pace, _ progress: TransferProgress?,
      _ connection: BackgroundConnection
    ) async throws -> MoveSummary

  /// How fast the workers may be together, and what that leaves for one of them.
  private struct Pace {
    var limit: RateLimit?
    /// Bytes a second.
    var share: Int64 = .max

    init(_ options: MoveOptions) {
      limit = options.maximumRate.map(RateLimit.init)
      if let rate = options.maximumRate { share = Int64(rate) / Int64(max(1, options.concurrency)) }
    }
  }

  private func move(
    _ candidates: SQL,
    _ options: MoveOptions,
    _ progress: TransferProgress?,
    _ work: @escaping Work
  ) async throws -> MoveSummary {
    let connection = try await connection()
    let limited: SQL = options.limit.map { "\(candidates)\nORDER BY size DESC, hash LIMIT \($0)" } ?? candidates
    let total = try await connection.query(
      "SELECT count(*) AS count, coalesce(sum(c.size), 0)::bigint AS bytes FROM (\(limited)) AS c"
    )
    guard let row = total.first else { return MoveSummary() }
    let amount = TransferProgress.Amount(count: try row.int("count"), bytes: Int64(try row.int("bytes")))
    var summary = MoveSummary()
    if options.isDryRun {
      summary.moved = amount
      return summary
    }
    progress?.expect(amount)
    let queue = try await MoveCandidates(
      "\(candidates)\nORDER BY size DESC, hash",
      limit: options.limit,
      on: connection
    )
    let pace = Pace(options)
    try await withThrowingTaskGroup(of: MoveSummary.self) { group in
      for _ in 0..<min(options.concurrency, max(1, amount.count)) {
        group.addTask {
          let connection = try await self.connection()
          var summary = MoveSummary()
          while case let batch = try await queue.next(), !batch.isEmpty {
            try Task.checkCancellation()
            summary.add(try await work(batch, pace, progress, connection))
          }
          return summary
        }
      }
      for try await part in group { summary.add(part) }
    }
    return summary
  }

  // MARK: Offload

  private func offload(
    _ batch: [MoveCandidates.Candidate],
    _ pace: Pace,
    _ progress: TransferProgress?,
    on connection: BackgroundConnection
  ) async throws -> MoveSummary {
    let rows = try await connection.query(
      """
      SELECT \(asHex("o.hash")) AS hash, o.outcome, o.upload_id, o.object_key, o.size, o.media_type
      FROM \(names.qualified("blob_offload_begin"))(\(asKeys("$1")), make_interval(secs => $2::integer)) AS o
      ORDER BY o.size DESC
      """,
      batch.map(\.hash),
      batch.map { Self.leaseSeconds($0.size, at: pace.share) }.reduce(0, +)
    )
    var summary = MoveSummary()
    var written: [Int: Written] = [:]
    var open: [Int] = []
    for row in rows {
      let outcome = try row.string("outcome")
      if outcome == "upload" {
        open.append(try row.int("upload_id"))
      } else {
        summary.skipped[outcome, default: 0] += 1
        if outcome == "wrong size" {
          let hash = try row.string("hash")
          logger.warning("blob left alone: its size is wrong", metadata: ["hash": "\(hash)"])
        }
      }
    }
    do {
      let uploads = try rows.filter { try $0.string("outcome") == "upload" }
      for (row, content) in zip(uploads, try await contents(of: uploads, on: connection)) {
        try Task.checkCancellation()
        let (hash, upload, size) = (content.sha256, try row.int("upload_id"), Int64(try row.int("size")))
        do {
          try await store(content, as: row.string("object_key"), row.string("media_type"), progress, at: pace.limit)
          written[upload] = Written(hash: hash, objectKey: try row.string("object_key"), bytes: size)
          progress?.add(count: 1)
        } catch let error as ObjectStoreError where error.kind == .contentMismatch {
          // The row is damaged, or gone since; every other blob can still be moved.
          await abort([upload], on: connection)
          open.removeAll { $0 == upload }
          let place = try await location(of: hash, on: connection)
          // A row that went and came back is no damaged one.
          let damaged = try await connection.query(
            "SELECT FROM \(table) AS b WHERE b.\(key) = \(asKey("$1")) AND encode(sha256(b.\(data)), 'hex') <> $1",
            hash
          )
          if !damaged.isEmpty {
            logger.warning("blob not moved", metadata: ["hash": "\(hash)", "error": "\(error)"])
            summary.failed += 1
          } else {
            summary.skipped[place == nil ? "gone" : "moved meanwhile", default: 0] += 1
          }
        }
      }
    } catch {
      // Those that were written are as good as moved; the others are given up.
      summary.add(try await finish(written, on: connection))
      await abort(open.filter { written[$0] == nil }, on: connection)
      throw error
    }
    summary.add(try await finish(written, on: connection))
    return summary
  }

  /// The contents of the rows of a batch: one is read while it is sent, of several the batch is small.
  private func contents(of uploads: [Row], on connection: BackgroundConnection) async throws -> [ObjectContent] {
    let hashes = try uploads.map { try $0.string("hash") }
    guard uploads.count > 1 else {
      return try zip(uploads, hashes).map { row, hash in
        ObjectContent(size: Int64(try row.int("size")), sha256: hash) { range in
          // A part of it is never asked for: an upload in parts is cut from one stream.
          try await connection.abandonStream()
          return inlineContent(of: hash, from: range.lowerBound, on: connection)
        }
      }
    }
    return zip(hashes, try await inlineContents(of: hashes, on: connection)).map { ObjectContent($1, sha256: $0) }
  }

  /// An object that the store has confirmed.
  private struct Written {
    let hash: String
    let objectKey: String
    let bytes: Int64
  }

  /// Ends the uploads of objects that the store has confirmed.
  private func finish(_ written: [Int: Written], on connection: BackgroundConnection) async throws -> MoveSummary {
    var summary = MoveSummary()
    guard !written.isEmpty else { return summary }
    try await connection.abandonStream()
    let outcomes = try await complete(written.keys.sorted(), on: connection)
    var late: [String] = []
    for (upload, object) in written {
      let outcome = outcomes[upload] ?? "expired"
      if outcome == "stored" {
        summary.moved.count += 1
        summary.moved.bytes += object.bytes
      } else if outcome == "expired" {
        logger.warning(
          "blob not moved",
          metadata: [
            "hash": "\(object.hash)", "error": "the upload took longer than its lease; is the object store slow?",
          ]
        )
        summary.failed += 1
        late.append(object.objectKey)
      } else {
        summary.skipped[outcome, default: 0] += 1
      }
    }
    // A sweep may have deleted them before they were written.
    if !late.isEmpty {
      _ = try await connection.query("SELECT \(names.qualified("blob_deletions_add"))($1::text[])", late.sorted())
    }
    let busy = written.keys.filter { outcomes[$0] == "busy" }
    // A row that is in use now moves next time.
    if !busy.isEmpty { await abort(busy, on: connection) }
    return summary
  }

  // MARK: Restore

  private func restore(
    _ batch: [MoveCandidates.Candidate],
    _ pace: Pace,
    _ progress: TransferProgress?,
    on connection: BackgroundConnection
  ) async throws -> MoveSummary {
    var summary = MoveSummary()
    for candidate in batch {
      try Task.checkCancellation()
      guard let place = try await location(of: candidate.hash, on: connection), let objectKey = place.objectKey else {
        summary.skipped["moved meanwhile", default: 0] += 1
        continue
      }
      let content = ObjectContent(size: place.size, sha256: place.hash) { range in
        let body = try await objects.get(prefix + objectKey, range: range.isEmpty ? nil : range).body
        return ByteStream(
          body.map { piece in
            try await pace.limit?.pass(piece.readableBytes)
            return piece
          }
        )
      }
      do {
        let outcome = try await restore(content, progress, on: connection)
        if outcome == "stored" {
          summary.moved.count += 1
          summary.moved.bytes += place.size
          progress?.add(count: 1)
        } else {
          summary.skipped[outcome, default: 0] += 1
        }
      } catch let error as ObjectStoreError where error.kind == .notFound {
        guard try await isMissing(place, on: connection) else {
          summary.skipped["moved meanwhile", default: 0] += 1
          continue
        }
        logger.warning("blob not moved", metadata: ["hash": "\(place.hash)", "error": "\(error)"])
        summary.failed += 1
      } catch let error as ObjectStoreError where error.mayBeOfOneObject {
        try await checkStore()
        logger.warning("blob not moved", metadata: ["hash": "\(place.hash)", "error": "\(error)"])
        summary.failed += 1
      } catch let error as PostgresError where ["XX001", "54000"].contains(error.sqlState) {
        // Damaged in the store, or too large for a row by the policy.
        logger.warning("blob not moved", metadata: ["hash": "\(place.hash)", "error": "\(error)"])
        summary.failed += 1
      }
    }
    return summary
  }

  private func restore(
    _ content: ObjectContent,
    _ progress: TransferProgress?,
    on connection: BackgroundConnection
  ) async throws -> String {
    let function = names.qualified("blob_restore")
    return try await staging(content, progress, on: connection) { connection, whole in
      let row = try connection.query("SELECT \(function)(\(asKey("$1")), \(whole)) AS outcome", content.sha256).first
      return try row?.string("outcome") ?? "missing"
    }
  }
}
