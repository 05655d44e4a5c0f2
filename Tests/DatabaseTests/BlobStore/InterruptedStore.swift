import Foundation
import ObjectStore

/// A directory in front of which something happens once, around the first read.
struct InterruptedStore: ObjectStore {
  let base: DirectoryStore
  /// Decides for how many reads something happens.
  let reads: Countdown
  /// Before the read reaches the store.
  let before: @Sendable () async throws -> Void
  /// When it has failed, before its error is told.
  let afterFailure: @Sendable () async throws -> Void

  actor Countdown {
    private var left: Int

    init(_ count: Int) { left = count }

    func next() -> Bool {
      left -= 1
      return left >= 0
    }
  }

  func get(_ key: String, range: Range<Int64>?) async throws -> ObjectDownload {
    guard await reads.next() else { return try await base.get(key, range: range) }
    try await before()
    do {
      return try await base.get(key, range: range)
    } catch {
      try await afterFailure()
      throw error
    }
  }

  func put(_ key: String, _ content: ObjectContent, contentType: String) async throws {
    try await base.put(key, content, contentType: contentType)
  }

  func head(_ key: String) async throws -> ObjectAttributes? { try await base.head(key) }
  func delete(_ key: String) async throws { try await base.delete(key) }
  func delete(_ keys: [String]) async throws -> [ObjectDeletionFailure] { try await base.delete(keys) }

  func list(prefix: String, after: String?) async throws -> ObjectListing {
    try await base.list(prefix: prefix, after: after)
  }

  func removeUnfinishedUploads(prefix: String, begunBefore: Date) async throws -> Int {
    try await base.removeUnfinishedUploads(prefix: prefix, begunBefore: begunBefore)
  }
}
