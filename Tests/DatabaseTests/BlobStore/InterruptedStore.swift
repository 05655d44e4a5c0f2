import Foundation
import ObjectStore

/// A directory in front of which something happens, around the first reads or before each write.
struct InterruptedStore: ObjectStore {
  let base: DirectoryStore
  /// Decides for how many reads something happens.
  var reads = Countdown(0)
  /// Before the read reaches the store.
  var before: @Sendable () async throws -> Void = {}
  /// When it has failed, before its error is told.
  var afterFailure: @Sendable () async throws -> Void = {}
  /// Before a write reaches the store.
  var beforePut: @Sendable () async throws -> Void = {}

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
    try await beforePut()
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
