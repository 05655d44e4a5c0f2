import EmbeddedSeaweed
import Foundation
import NIOCore
import TestSupport
import Testing

@testable import ObjectStore

/// What every store does, with the same words for each.
@Suite(.serialized) struct ConformanceTests {
  enum Kind: String, CaseIterable, CustomTestStringConvertible {
    case directory, seaweed, seaweedVirtualHosted, moto

    /// Those that are installed here.
    static let installed = allCases.filter {
      switch $0 {
      case .directory: true
      case .seaweed, .seaweedVirtualHosted: StoreServer.hasSeaweed
      case .moto: StoreServer.hasMoto
      }
    }

    var testDescription: String { rawValue }
  }

  /// A new, empty store.
  private final class Fixture {
    let store: any ObjectStore
    private let folder: TemporaryFolder?

    init(_ kind: Kind) async throws {
      var surroundings = S3Surroundings()
      var configuration: S3Configuration
      switch kind {
      case .directory:
        let folder = try TemporaryFolder()
        let store = DirectoryStore(directory: folder.path, pageSize: 1000)
        try await store.create()
        self.folder = folder
        self.store = store
        return
      case .seaweed: configuration = try await StoreServer.seaweedConfiguration()
      case .seaweedVirtualHosted:
        configuration = try await StoreServer.seaweedConfiguration()
        let port = try await StoreServer.startedSeaweed().port
        configuration.endpoint = "http://\(EmbeddedSeaweed.domain):\(port)"
        configuration.addressing = .virtualHosted
        surroundings.addresses = ["\(configuration.bucket).\(EmbeddedSeaweed.domain)": "127.0.0.1"]
      case .moto: configuration = try await StoreServer.motoConfiguration()
      }
      configuration.multipartThreshold = 5 << 20
      configuration.partSize = 5 << 20
      folder = nil
      let client = try S3Client(configuration, surroundings)
      try await client.createBucket()
      store = client
    }
  }

  @Test(.enabled(if: StoreServer.hasSeaweed, StoreServer.seaweedIsMissing)) func seaweedIsTested() {}

  @Test(.enabled(if: StoreServer.hasMoto, StoreServer.motoIsMissing)) func motoIsTested() {}

  @Test(arguments: Kind.installed) func storesAndReturnsBytes(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    for size in [0, 1, 1000, 300_000] {
      let content = bytes(size, seed: UInt64(size))
      let before = Date(timeIntervalSinceNow: -2)
      try await store.put("a/\(size)", ObjectContent(content), contentType: "text/x-\(size)")
      let attributes = try #require(try await store.head("a/\(size)"))
      #expect(attributes.size == size)
      #expect(attributes.contentType == "text/x-\(size)")
      #expect(attributes.lastModified > before && attributes.lastModified < Date(timeIntervalSinceNow: 2))
      let download = try await store.get("a/\(size)")
      #expect(download.attributes == attributes)
      #expect(download.range == 0..<Int64(size))
      #expect(try await download.body.collect(upTo: size) == content)
    }
  }

  @Test(arguments: Kind.installed) func storesWhatIsLargerThanAPart(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    let content = bytes(12 << 20)
    try await store.put("large", ObjectContent(content), contentType: "application/x-large")
    #expect(try await store.head("large")?.contentType == "application/x-large")
    #expect(try await store.bytes("large") == content)
    #expect(try await store.removeUnfinishedUploads(prefix: "", begunBefore: .distantFuture) == 0)
  }

  @Test(arguments: Kind.installed) func aBodyCanBeReadAgain(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    let content = bytes(500_000)
    try await store.put("k", content)
    let download = try await store.get("k")
    #expect(try await download.body.collect(upTo: 500_000) == content)
    #expect(try await download.body.collect(upTo: 500_000) == content)
  }

  @Test(arguments: Kind.installed) func replacesAnObject(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    try await store.put("k", bytes(1000, seed: 1))
    try await store.put("k", ObjectContent(bytes(10, seed: 2)), contentType: "text/plain")
    #expect(try await store.bytes("k") == bytes(10, seed: 2))
    #expect(try await store.head("k")?.contentType == "text/plain")
  }

  @Test(arguments: Kind.installed) func returnsRanges(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    let content = bytes(1000)
    try await store.put("k", content)
    for range: Range<Int64> in [0..<1, 0..<1000, 999..<1000, 10..<20, 990..<5000, 500..<500] {
      let download = try await store.get("k", range: range)
      let expected = range.clamped(to: 0..<1000)
      #expect(download.range == expected)
      #expect(download.attributes.size == 1000)
      let slice = content.getSlice(at: Int(expected.lowerBound), length: expected.count)
      #expect(try await download.body.collect(upTo: 1000) == slice)
    }
    for range: Range<Int64> in [1000..<1001, 5000..<6000, 1000..<1000, -5..<5] {
      let error = try await storeError { _ = try await store.bytes("k", range) }
      #expect(error.kind == .invalidRange)
    }
  }

  @Test(arguments: Kind.installed) func knowsWhatIsMissing(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    #expect(try await store.head("missing") == nil)
    let error = try await storeError { _ = try await store.get("missing") }
    #expect(error.kind == .notFound)
    #expect("\(error)".contains("\"missing\""))
    #expect(try await storeError { _ = try await store.bytes("missing", 0..<5) }.kind == .notFound)
    #expect(try await storeError { _ = try await store.bytes("missing", 5..<5) }.kind == .notFound)
    try await store.delete("missing")
    #expect(try await store.delete(["missing"]).isEmpty)
  }

  @Test(arguments: Kind.installed) func deletes(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    let keys = (0..<5).map { "d/<&>\($0)" }
    for key in keys { try await store.put(key, bytes(10)) }
    try await store.delete(keys[0])
    #expect(try await store.head(keys[0]) == nil)
    let failures = try await store.delete(Array(keys[1...3]))
    #expect(failures.isEmpty)
    #expect(try await store.keys("") == [keys[4]])
    #expect(try await store.delete([]).isEmpty)
  }

  @Test(arguments: Kind.installed) func takesHostileKeys(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    var keys = [
      "plain", "with space", " ", "a+b", "a%2Fb", "a%b", "100%", "ünï/cödé", "e\u{301}", "\u{E9}", "\u{1F600}",
      "?query=1&x",
      "#fragment", "semi;colon,comma", "\"quoted\"", "'quoted'", "<xml>&amp;</xml>", "~tilde", "*star",
      "a=b@c:d$e!", "...", "a/...", ".hidden", "(paren)[bracket]{brace}|^`",
    ]
    if kind == .directory || kind == .moto {
      // SeaweedFS takes a backslash for a slash, and keys for paths of a file system.
      keys += ["back\\slash", "a//b", "/a", "a/"]
    }
    for (index, key) in keys.enumerated() {
      try await store.put(key, ByteBuffer(string: "\(index)"))
    }
    for (index, key) in keys.enumerated() {
      #expect(try await store.bytes(key) == ByteBuffer(string: "\(index)"), "\(key)")
      #expect(try await store.head(key) != nil, "\(key)")
    }
    let listed = try await store.keys("").map { Array($0.utf8) }
    #expect(Set(listed) == Set(keys.map { Array($0.utf8) }))
    #expect(try await store.delete(Array(keys.dropFirst(5))).map(\.key) == [])
    for key in keys.prefix(5) { try await store.delete(key) }
    #expect(try await store.keys("").isEmpty)
  }

  @Test(arguments: Kind.installed) func refusesKeysThatAreNone(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    let keys = [
      "", ".", "..", "../x", "a/../b", "a/./b", "/..", "a\u{0}b", "a\nb", "\u{7F}", "\u{FFFE}",
      String(repeating: "x", count: 1025),
    ]
    for key in keys {
      #expect(try await storeError { try await store.put(key, ByteBuffer()) }.kind == .invalidKey, "\(key)")
      #expect(try await storeError { _ = try await store.get(key) }.kind == .invalidKey, "\(key)")
      #expect(try await storeError { _ = try await store.head(key) }.kind == .invalidKey, "\(key)")
      #expect(try await storeError { try await store.delete(key) }.kind == .invalidKey, "\(key)")
    }
  }

  @Test(arguments: Kind.installed) func listsInPages(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    let keys = (0..<1005).map { "list/\(String($0, radix: 16))" }
    try await withThrowingTaskGroup { group in
      for start in stride(from: 0, to: keys.count, by: 150) {
        group.addTask {
          for key in keys[start..<min(start + 150, keys.count)] { try await store.put(key, ByteBuffer(string: key)) }
        }
      }
      try await group.waitForAll()
    }
    try await store.put("other", ByteBuffer(string: "other"))
    let first = try await store.list(prefix: "list/", after: nil)
    #expect(first.objects.count == 1000)
    #expect(first.objects.allSatisfy { $0.size == Int64($0.key.utf8.count) })
    #expect(first.next != nil)
    let all = try await store.keys("list/")
    #expect(all == keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
    #expect(try await store.keys("list/3f") == ["list/3f"] + all.filter { $0.hasPrefix("list/3f") && $0 != "list/3f" })
    #expect(try await store.list(prefix: "nothing", after: nil).objects.isEmpty)
    #expect(try await store.delete(keys).isEmpty)
    #expect(try await store.keys("") == ["other"])
  }

  @Test(arguments: Kind.installed) func storesNothingThatIsNotWhatItClaims(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    for size in [1000, 12 << 20] {
      let right = bytes(size)
      let hash = sha256(Data(right.readableBytesView))
      func content(_ bytes: ByteBuffer) -> ObjectContent {
        ObjectContent(size: Int64(size), sha256: hash) { _ in ByteStream(bytes) }
      }
      for wrong in [bytes(size, seed: 2), bytes(size - 1), bytes(size + 1)] {
        let error = try await storeError { try await store.put("k", content(wrong), contentType: "text/plain") }
        #expect(error.kind == .contentMismatch)
        #expect(!error.outcomeIsUnknown)
        #expect(try await store.head("k") == nil)
      }
    }
    #expect(try await store.removeUnfinishedUploads(prefix: "", begunBefore: .distantFuture) == 0)
  }

  /// A store that is told of no bytes has all of them before any can be held back.
  @Test(arguments: Kind.installed) func nothingTakesThePlaceOfAnObject(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    let content = bytes(1000)
    try await store.put("k", content)
    let nothing = ObjectContent(ByteBuffer(), sha256: sha256(Data(content.readableBytesView)))
    let error = try await storeError { try await store.put("k", nothing, contentType: "text/plain") }
    #expect(error.kind == .contentMismatch)
    #expect(try await store.bytes("k") == content)
  }

  @Test(arguments: Kind.installed) func passesOnWhatTheSourceThrows(kind: Kind) async throws {
    struct Broken: Error {}
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    let opens = ObjectContent(size: 10, sha256: sha256(Data())) { _ in throw Broken() }
    await #expect(throws: Broken.self) { try await store.put("k", opens, contentType: "text/plain") }
    for size: Int64 in [1 << 20, 12 << 20] {
      let reads = ObjectContent(size: size, sha256: sha256(Data())) { _ in
        ByteStream(unfolding: {
          var pieces = [bytes(100_000), bytes(100_000)]
          return {
            guard let piece = pieces.popLast() else { throw Broken() }
            return piece
          }
        })
      }
      await #expect(throws: Broken.self) { try await store.put("k", reads, contentType: "text/plain") }
    }
    #expect(try await store.head("k") == nil)
    #expect(try await store.removeUnfinishedUploads(prefix: "", begunBefore: .distantFuture) == 0)
  }

  @Test(arguments: Kind.installed) func storesAFile(kind: Kind) async throws {
    let fixture = try await Fixture(kind)
    defer { withExtendedLifetime(fixture) {} }
    let store = fixture.store
    let folder = try TemporaryFolder()
    let content = bytes(6 << 20)
    let file = "\(folder.path)/file"
    try Data(content.readableBytesView).write(to: URL(filePath: file))
    let described = try await ObjectContent(file: file)
    #expect(described.size == 6 << 20)
    try await store.put("f", described, contentType: "text/plain")
    #expect(try await store.bytes("f") == content)
    // Changed between its description and its upload.
    try Data(bytes(6 << 20, seed: 9).readableBytesView).write(to: URL(filePath: file))
    let error = try await storeError { try await store.put("g", described, contentType: "text/plain") }
    #expect(error.kind == .contentMismatch)
    #expect(try await store.head("g") == nil)
  }
}
