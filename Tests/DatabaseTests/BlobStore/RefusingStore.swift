import Foundation
import NIOCore

@testable import ObjectStore

/// A directory behind a store that does not hand some objects out.
struct RefusingStore: ObjectStore {
  let base: DirectoryStore
  let refused: [String]
  var lists = true

  private func refusal(_ operation: String) -> ObjectStoreError {
    ObjectStoreError(.unavailable, doing: operation, "the test says so")
  }

  func get(_ key: String, range: Range<Int64>?) async throws -> ObjectDownload {
    guard !refused.contains(where: key.hasSuffix) else { throw refusal("read") }
    return try await base.get(key, range: range)
  }

  func list(prefix: String, after: String?) async throws -> ObjectListing {
    guard lists else { throw refusal("list") }
    return try await base.list(prefix: prefix, after: after)
  }

  func put(_ key: String, _ content: ObjectContent, contentType: String) async throws {
    try await base.put(key, content, contentType: contentType)
  }
  func head(_ key: String) async throws -> ObjectAttributes? { try await base.head(key) }
  func delete(_ key: String) async throws { try await base.delete(key) }
  func delete(_ keys: [String]) async throws -> [ObjectDeletionFailure] { try await base.delete(keys) }
  func removeUnfinishedUploads(prefix: String, begunBefore: Date) async throws -> Int { 0 }
}
