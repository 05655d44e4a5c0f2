import Foundation
import NIOCore

@testable import ObjectStore

/// A directory behind a store as bad as a store can be: requests that are refused, that are carried out and not confirmed,
/// and that are carried out long after the client has given them up.
///
/// In the middle of any request something else may happen: ``Fate`` says what and when.
struct UnreliableStore: ObjectStore {
  /// What was given up and has not been carried out yet.
  enum Late: Sendable {
    case put(String, ObjectContent)
    case delete(String)
  }

  let base: DirectoryStore
  let fate: Fate

  func put(_ key: String, _ content: ObjectContent, contentType: String) async throws {
    await fate.intervene()
    var bytes = ByteBuffer()
    for try await var piece in try await content.open(0..<content.size) { bytes.writeBuffer(&piece) }
    let whole = ObjectContent(bytes, sha256: content.sha256)
    // What its source has lost meanwhile is refused before it is sent, and is on no way anywhere.
    guard ObjectContent(bytes).sha256 == content.sha256 else {
      return try await base.put(key, whole, contentType: contentType)
    }
    switch await fate.number(below: 20) {
    case 0: throw Self.error("store", key, outcomeIsUnknown: false)
    case 1:
      await fate.postpone(.put(key, whole))
      throw Self.error("store", key, outcomeIsUnknown: true)
    case 2:
      try await base.put(key, whole, contentType: contentType)
      throw Self.error("store", key, outcomeIsUnknown: true)
    default: try await base.put(key, whole, contentType: contentType)
    }
    await fate.intervene()
  }

  func head(_ key: String) async throws -> ObjectAttributes? {
    if await fate.number(below: 20) == 0 { throw Self.error("look at", key, outcomeIsUnknown: false) }
    return try await base.head(key)
  }

  func get(_ key: String, range: Range<Int64>?) async throws -> ObjectDownload {
    await fate.intervene()
    return try await base.get(key, range: range)
  }

  func delete(_ key: String) async throws {
    if let failure = try await delete([key]).first { throw failure.error }
  }

  func delete(_ keys: [String]) async throws -> [ObjectDeletionFailure] {
    await fate.intervene()
    var failures: [ObjectDeletionFailure] = []
    for key in keys {
      switch await fate.number(below: 8) {
      case 0: failures.append(.init(key: key, error: Self.error("delete", key, outcomeIsUnknown: false)))
      case 1:
        await fate.postpone(.delete(key))
        failures.append(.init(key: key, error: Self.error("delete", key, outcomeIsUnknown: true)))
      case 2:
        try await base.delete(key)
        failures.append(.init(key: key, error: Self.error("delete", key, outcomeIsUnknown: true)))
      default: try await base.delete(key)
      }
    }
    await fate.intervene()
    if await fate.number(below: 10) == 0 { throw Self.error("delete", "objects", outcomeIsUnknown: true) }
    return failures
  }

  func list(prefix: String, after: String?) async throws -> ObjectListing {
    try await base.list(prefix: prefix, after: after)
  }

  func removeUnfinishedUploads(prefix: String, begunBefore: Date) async throws -> Int {
    try await base.removeUnfinishedUploads(prefix: prefix, begunBefore: begunBefore)
  }

  /// Carries out what was given up.
  func carryOut(_ late: Late) async throws {
    switch late {
    case .put(let key, let content): try await base.put(key, content, contentType: "")
    case .delete(let key): try await base.delete(key)
    }
  }

  private static func error(_ verb: String, _ key: String, outcomeIsUnknown: Bool) -> ObjectStoreError {
    ObjectStoreError(
      outcomeIsUnknown ? .timeout : .unavailable,
      doing: "\(verb) \(key)",
      "the test says so",
      outcomeIsUnknown: outcomeIsUnknown
    )
  }
}
