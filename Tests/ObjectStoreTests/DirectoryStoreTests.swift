import Foundation
import NIOCore
import TestSupport
import Testing

@testable import ObjectStore

/// What concerns the directory alone; the rest is in ``ConformanceTests``.
@Suite struct DirectoryStoreTests {
  @Test func aMissingDirectoryIsNoEmptyStore() async throws {
    let folder = try TemporaryFolder()
    let store = DirectoryStore(directory: folder.path)
    let failures = [
      try await storeError { _ = try await store.head("k") },
      try await storeError { _ = try await store.get("k") },
      try await storeError { try await store.delete("k") },
      try await storeError { _ = try await store.delete(["k"]) },
      try await storeError { try await store.put("k", ByteBuffer(string: "x")) },
      try await storeError { _ = try await store.list(prefix: "", after: nil) },
      try await storeError { _ = try await store.removeUnfinishedUploads(prefix: "", begunBefore: Date()) },
    ]
    for error in failures {
      #expect(error.kind == .noSuchBucket, "\(error)")
      #expect("\(error)".contains(folder.path))
    }
  }

  @Test func nothingOfAKeyLeavesTheDirectory() async throws {
    let folder = try TemporaryFolder()
    let store = DirectoryStore(directory: "\(folder.path)/store")
    try await store.create()
    for key in ["/etc/x", "a//..b", "..%2F..%2Fx", "%2e%2e", "~root", ".a", "a/b", "a~b"] {
      try await store.put(key, ByteBuffer(string: key))
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["store"])
    let files = try FileManager.default.subpathsOfDirectory(atPath: "\(folder.path)/store/objects")
    #expect(files.count == 8)
    #expect(files.allSatisfy { !$0.contains("/") && !$0.hasPrefix(".") })
    #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/store/uploads") == [])
  }

  @Test func foreignFilesAreNoObjects() async throws {
    let folder = try TemporaryFolder()
    let store = DirectoryStore(directory: folder.path)
    try await store.create()
    for name in [".hidden", "%zz", "%61", "a b", "%2f"] {
      try Data().write(to: URL(filePath: "\(folder.path)/objects/\(name)"))
    }
    #expect(try await store.list(prefix: "", after: nil).objects.isEmpty)
  }

  @Test func anUploadAppearsOnlyWhenItIsWhole() async throws {
    let folder = try TemporaryFolder()
    let store = DirectoryStore(directory: folder.path)
    try await store.create()
    let content = bytes(1000)
    let observed = ObjectContent(size: 1000, sha256: sha256(Data(content.readableBytesView))) { _ in
      ByteStream(unfolding: {
        var pieces = [content]
        return { () async throws -> ByteBuffer? in
          if pieces.isEmpty {
            #expect(try await store.head("k") == nil)
            #expect(try await store.list(prefix: "", after: nil).objects.isEmpty)
            #expect(try await store.removeUnfinishedUploads(prefix: "x", begunBefore: .distantFuture) == 0)
            #expect(try await store.removeUnfinishedUploads(prefix: "k", begunBefore: .distantPast) == 0)
          }
          return pieces.popLast()
        }
      })
    }
    try await store.put("k", observed, contentType: "text/plain")
    #expect(try await store.bytes("k") == content)
  }

  @Test func removesUploadsThatWereLeft() async throws {
    let folder = try TemporaryFolder()
    let store = DirectoryStore(directory: folder.path)
    try await store.create()
    try Data(count: 5).write(to: URL(filePath: "\(folder.path)/uploads/a%2Fk~0123"))
    #expect(try await store.removeUnfinishedUploads(prefix: "b", begunBefore: .distantFuture) == 0)
    #expect(try await store.removeUnfinishedUploads(prefix: "a/", begunBefore: .distantFuture) == 1)
    #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/uploads") == [])
  }

  @Test func aFileThatCannotBeReadIsNamed() async throws {
    let error = try await storeError { _ = try await ObjectContent(file: "/nonexistent") }
    #expect(error.kind == .fileSystem)
    #expect("\(error)".contains("/nonexistent"))
  }

  @Test func aKeyThatIsTooLongForAFileIsRefused() async throws {
    let folder = try TemporaryFolder()
    let store = DirectoryStore(directory: folder.path)
    try await store.create()
    try await store.put(String(repeating: "x", count: 222), ByteBuffer(string: "x"))
    let key = String(repeating: "x", count: 223)
    #expect(try await storeError { try await store.put(key, ByteBuffer(string: "x")) }.kind == .invalidKey)
  }
}
