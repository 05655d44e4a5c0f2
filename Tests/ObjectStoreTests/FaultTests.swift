import EmbeddedSeaweed
import Foundation
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import ObjectStore

/// What goes wrong between the client and a real SeaweedFS.
@Suite(.serialized, .enabled(if: StoreServer.hasSeaweed, StoreServer.seaweedIsMissing)) struct FaultTests {
  /// The pauses that the client made; none of them takes any time.
  private final class Pauses: Sendable {
    private let recorded = Mutex<[Duration]>([])

    var all: [Duration] { recorded.withLock { $0 } }

    func add(_ pause: Duration) {
      recorded.withLock { $0.append(pause) }
    }
  }

  /// A bucket behind a proxy of its own.
  private struct Fixture {
    let proxy: FaultyProxy
    let pauses = Pauses()
    let bucket: String
    let store: S3Client
    /// The same bucket without the proxy.
    let direct: S3Client

    init(
      stallTimeout: Duration = .seconds(20),
      _ change: (inout S3Configuration, inout S3Surroundings) -> Void = { _, _ in }
    ) async throws {
      let server = try await StoreServer.startedSeaweed()
      var configuration = try await StoreServer.seaweedConfiguration()
      configuration.multipartThreshold = 5 << 20
      configuration.partSize = 5 << 20
      configuration.retries = S3RetryPolicy(attempts: 4, firstPause: .seconds(1), longestPause: .seconds(10))
      bucket = configuration.bucket
      direct = try S3Client(configuration)
      configuration.stallTimeout = stallTimeout
      try await direct.createBucket()
      proxy = try FaultyProxy(upstream: server.port)
      configuration.endpoint = proxy.endpoint
      var surroundings = S3Surroundings()
      surroundings.sleep = { [pauses] in pauses.add($0) }
      surroundings.random = { $0.upperBound }
      change(&configuration, &surroundings)
      store = try S3Client(configuration, surroundings)
    }
  }

  private static let slowDown =
    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message><RequestId>R1</RequestId></Error>"

  @Test func repeatsAfterServerErrorsWithGrowingPauses() async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan(
      "PUT",
      .answer("500 Internal Server Error"),
      .answer("503 Slow Down", body: Self.slowDown),
      .answer("429 Too Many Requests")
    )
    try await fixture.store.put("k", bytes(100_000))
    #expect(fixture.pauses.all == [.seconds(1), .seconds(2), .seconds(4)])
    #expect(try await fixture.direct.bytes("k") == bytes(100_000))
  }

  @Test func givesUpWithTheStoresOwnMessage() async throws {
    let fixture = try await Fixture()
    let slow = Fault.answer("503 Slow Down", body: Self.slowDown)
    fixture.proxy.plan("GET", slow, slow, slow, slow)
    let error = try await storeError { _ = try await fixture.store.get("k") }
    #expect(error.kind == .unavailable)
    #expect(error.code == "SlowDown")
    #expect(error.requestID == "R1")
    #expect(error.attempts == 4)
    for part in ["\"k\"", fixture.bucket, fixture.proxy.endpoint, "Please reduce your request rate.", "4 attempts"] {
      #expect("\(error)".contains(part))
    }
    #expect(fixture.proxy.requests.count == 4)
  }

  @Test func waitsAsLongAsTheStoreAsks() async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan("DELETE", .answer("503 Slow Down", headers: ["Retry-After: 7"]))
    try await fixture.store.delete("k")
    #expect(fixture.pauses.all == [.seconds(7)])
  }

  @Test func doesNotWaitLongerThanItMay() async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan("DELETE", .answer("503 Slow Down", headers: ["Retry-After: 11"]))
    #expect(try await storeError { try await fixture.store.delete("k") }.kind == .unavailable)
    #expect(fixture.pauses.all == [])
  }

  @Test(arguments: [
    "400 Bad Request", "403 Forbidden", "405 Method Not Allowed", "409 Conflict", "501 Not Implemented",
  ])
  func doesNotRepeatWhatWillFailAgain(status: String) async throws {
    let fixture = try await Fixture()
    let body = "<Error><Code>SomeCode</Code><Message>Some message.</Message></Error>"
    fixture.proxy.plan("PUT", .answer(status, body: body))
    let error = try await storeError { try await fixture.store.put("k", bytes(10)) }
    #expect(error.code == "SomeCode")
    #expect(error.message == "Some message.")
    #expect(fixture.proxy.requests.count == 1)
  }

  @Test func uploadsAgainAfterAReset() async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan("PUT", .reset(afterBody: 0), .reset(afterBody: 500_000), .loseAnswer)
    try await fixture.store.put("k", bytes(2 << 20))
    #expect(fixture.pauses.all.count == 3)
    #expect(try await fixture.direct.bytes("k") == bytes(2 << 20))
  }

  @Test(arguments: [100_000, 2 << 20, 13 << 20])
  func uploadsAgainWhatTheStoreFoundDamaged(size: Int) async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan(size > 5 << 20 ? "partNumber=2" : "PUT", .damage)
    try await fixture.store.put("k", bytes(size))
    #expect(fixture.pauses.all.count == 1)
    #expect(try await fixture.direct.bytes("k") == bytes(size))
  }

  @Test func uploadsPartsAgainAfterAReset() async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan("partNumber=2", .reset(afterBody: 3 << 20), .loseAnswer, .answer("500 Internal Server Error"))
    try await fixture.store.put("k", bytes(13 << 20))
    #expect(try await fixture.direct.bytes("k") == bytes(13 << 20))
  }

  @Test(arguments: [Fault.resetAnswer(after: 700_000), .truncate(after: 700_000), .truncate(after: 20)])
  func goesOnWhereADownloadBroke(fault: Fault) async throws {
    let fixture = try await Fixture()
    let content = bytes(2 << 20)
    try await fixture.direct.put("k", content)
    fixture.proxy.plan("GET", fault, fault)
    #expect(try await fixture.store.bytes("k") == content)
    #expect(fixture.proxy.requests.count == 3)
    fixture.proxy.plan("GET", fault)
    let part = content.getSlice(at: 1000, length: 1_500_000)
    #expect(try await fixture.store.bytes("k", 1000..<1_501_000) == part)
  }

  @Test func aDownloadThatKeepsBreakingFails() async throws {
    let fixture = try await Fixture()
    try await fixture.direct.put("k", bytes(100_000))
    // Each answer is cut off within its head or right after it, so that none makes any progress.
    fixture.proxy.plan("GET", .truncate(after: 5000))
    for _ in 0..<20 { fixture.proxy.plan("GET", .truncate(after: 20)) }
    let error = try await storeError { _ = try await fixture.store.bytes("k") }
    #expect(error.kind == .connection)
    #expect(!error.outcomeIsUnknown)
  }

  @Test func noticesThatAnObjectChangedWhileItWasRead() async throws {
    let fixture = try await Fixture()
    try await fixture.direct.put("k", bytes(2 << 20, seed: 1))
    fixture.proxy.plan("GET", .truncate(after: 100_000))
    let download = try await fixture.store.get("k")
    try await fixture.direct.put("k", bytes(2 << 20, seed: 2))
    _ = try await storeError { _ = try await download.body.collect(upTo: 2 << 20) }
  }

  @Test func aStallIsATimeout() async throws {
    let fixture = try await Fixture(stallTimeout: .seconds(1))
    try await fixture.direct.put("k", bytes(2 << 20))
    fixture.proxy.plan("GET", .stall, .stallAnswer(after: 300_000))
    #expect(try await fixture.store.bytes("k") == bytes(2 << 20))
    #expect(fixture.proxy.requests.count == 3)
  }

  @Test func aStallBeforeTheAnswerIsATimeout() async throws {
    // A connection has to be made within that time too.
    let fixture = try await Fixture(stallTimeout: .seconds(2)) { configuration, _ in
      configuration.retries.attempts = 2
      configuration.multipartThreshold = 64 << 20
    }
    // So large that the server has to read before all of it is sent.
    let large = bytes(40 << 20)
    // Many, because both the watch and the HTTP client notice it, in any order.
    let puts = 16
    for _ in 0..<(2 * puts) { fixture.proxy.plan("PUT", .stall) }
    try await withThrowingTaskGroup { group in
      for key in 0..<puts {
        group.addTask { try await storeError { try await fixture.store.put("\(key)", large) } }
      }
      for try await error in group {
        #expect(error.kind == .timeout, "\(error)")
        #expect(error.attempts == 2)
        #expect(error.outcomeIsUnknown)
      }
    }
    #expect(fixture.proxy.requests.count == 2 * puts)
  }

  @Test func aSlowSourceIsNoStall() async throws {
    let fixture = try await Fixture(stallTimeout: .seconds(1))
    let content = bytes(10)
    let slow = ObjectContent(size: 10, sha256: sha256(Data(content.readableBytesView))) { _ in
      ByteStream(unfolding: {
        var pieces = [content]
        return { () async throws -> ByteBuffer? in
          try await Task.sleep(for: .milliseconds(1500))
          return pieces.popLast()
        }
      })
    }
    try await fixture.store.put("k", slow, contentType: "text/plain")
    #expect(fixture.proxy.requests.count == 1)
  }

  @Test func theOutcomeOfADeleteWithoutAnAnswerIsUnknown() async throws {
    let fixture = try await Fixture(stallTimeout: .milliseconds(200))
    fixture.proxy.plan("DELETE", .stall, .loseAnswer, .answer("503 Slow Down"), .answer("403 Forbidden"))
    let unknown = try await storeError { try await fixture.store.delete("k") }
    #expect(unknown.kind == .accessDenied)
    #expect(unknown.outcomeIsUnknown)
    #expect("\(unknown)".contains("may be done later"))
    fixture.proxy.plan("DELETE", .stall, .stall, .stall, .stall)
    let timeout = try await storeError { try await fixture.store.delete("k") }
    #expect(timeout.kind == .timeout)
    #expect(timeout.outcomeIsUnknown)
    fixture.proxy.plan("DELETE", .answer("403 Forbidden"))
    let known = try await storeError { try await fixture.store.delete("k") }
    #expect(!known.outcomeIsUnknown)
  }

  @Test func aBatchOfDeletesIsRepeatedOnlyWhenTheFirstWasNotCarriedOut() async throws {
    let fixture = try await Fixture(stallTimeout: .milliseconds(200))
    let body = "<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>"
    fixture.proxy.plan("POST", .answer("503 Slow Down"), .answer("200 OK", body: body))
    #expect(try await fixture.store.delete(["a"]).isEmpty)
    #expect(fixture.proxy.requests.count == 2)
    // The answer to a second request would not tell whether the first is still on its way.
    fixture.proxy.plan("POST", .stall, .answer("200 OK", body: body))
    let error = try await storeError { _ = try await fixture.store.delete(["a"]) }
    #expect(error.kind == .timeout && error.outcomeIsUnknown)
    #expect(fixture.proxy.requests.count == 3)
  }

  @Test func aFailedBatchSaysWhichKeys() async throws {
    let fixture = try await Fixture()
    let body = """
      <DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>
      <Message>No.</Message></Error></DeleteResult>
      """
    fixture.proxy.plan("POST", .answer("200 OK", body: body))
    let failures = try await fixture.store.delete(["a", "b", "c"])
    #expect(failures.map(\.key) == ["b", "c"])
    #expect(failures.map(\.error.kind) == [.accessDenied, .invalidResponse])
  }

  @Test(arguments: [
    "", "<html>", "<ListBucketResult><IsTruncated>true</IsTruncated>", "<html></html>",
    "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
    "<!DOCTYPE a [<!ENTITY b \"c\">]><ListBucketResult>&b;</ListBucketResult>",
  ]) func refusesAnswersThatAreNone(body: String) async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan("GET", .answer("200 OK", body: body))
    let error = try await storeError { _ = try await fixture.store.list(prefix: "", after: nil) }
    #expect(error.kind == .invalidResponse)
    #expect(fixture.proxy.requests.count == 1)
  }

  @Test func anUploadThatFailsLeavesNoParts() async throws {
    let fixture = try await Fixture()
    let forbidden = Fault.answer(
      "403 Forbidden",
      body: "<Error><Code>AccessDenied</Code><Message>No.</Message></Error>"
    )
    fixture.proxy.plan("partNumber=2", forbidden)
    let error = try await storeError { try await fixture.store.put("k", bytes(13 << 20)) }
    #expect(error.kind == .accessDenied)
    fixture.proxy.plan("POST /\(fixture.bucket)/k?uploadId", forbidden)
    _ = try await storeError { try await fixture.store.put("k", bytes(13 << 20)) }
    #expect(try await fixture.direct.removeUnfinishedUploads(prefix: "", begunBefore: .distantFuture) == 0)
    #expect(try await fixture.direct.head("k") == nil)
  }

  @Test func anErrorAfterTheStatusOfACompletionIsOne() async throws {
    let fixture = try await Fixture()
    let body = "<Error><Code>InternalError</Code><Message>We failed.</Message></Error>"
    fixture.proxy.plan("POST /\(fixture.bucket)/k?uploadId", .answer("200 OK", body: body))
    try await fixture.store.put("k", bytes(6 << 20))
    #expect(fixture.pauses.all.count == 1)
    #expect(try await fixture.direct.bytes("k") == bytes(6 << 20))
  }

  @Test func aCompletionWhoseAnswerIsLostSucceeds() async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan("POST /\(fixture.bucket)/k?uploadId", .loseAnswer)
    try await fixture.store.put("k", bytes(6 << 20))
    #expect(try await fixture.direct.bytes("k") == bytes(6 << 20))
    #expect(try await fixture.direct.removeUnfinishedUploads(prefix: "", begunBefore: .distantFuture) == 0)
  }

  @Test func cancellationEndsRequestsAndAbortsUploads() async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan("partNumber=2", .stall)
    let upload = Task { try await fixture.store.put("k", bytes(13 << 20)) }
    // The beginning and two or more parts.
    await fixture.proxy.waitForRequests(3)
    upload.cancel()
    await #expect(throws: CancellationError.self) { try await upload.value }
    #expect(fixture.proxy.requests.contains { $0.hasPrefix("DELETE") && $0.contains("uploadId") })
    #expect(try await fixture.direct.removeUnfinishedUploads(prefix: "", begunBefore: .distantFuture) == 0)

    let seen = fixture.proxy.requests.count
    fixture.proxy.plan("GET", .stall)
    let download = Task { _ = try await fixture.store.get("k") }
    await fixture.proxy.waitForRequests(seen + 1)
    download.cancel()
    await #expect(throws: CancellationError.self) { try await download.value }
  }

  @Test func removesUploadsThatWereLeft() async throws {
    let fixture = try await Fixture()
    let refused = Fault.answer("400 Bad Request")
    // Neither can the upload go on nor be aborted, as if the process had been killed.
    fixture.proxy.plan("partNumber=1", refused)
    fixture.proxy.plan("DELETE", refused)
    _ = try await storeError { try await fixture.store.put("a/k", bytes(6 << 20)) }
    #expect(try await fixture.direct.removeUnfinishedUploads(prefix: "", begunBefore: .distantPast) == 0)
    #expect(try await fixture.direct.removeUnfinishedUploads(prefix: "b", begunBefore: .distantFuture) == 0)
    #expect(try await fixture.direct.removeUnfinishedUploads(prefix: "a/", begunBefore: .distantFuture) == 1)
    #expect(try await fixture.direct.removeUnfinishedUploads(prefix: "", begunBefore: .distantFuture) == 0)
  }

  @Test func aMissingBucketIsNoMissingObject() async throws {
    let store = try S3Client(try await StoreServer.seaweedConfiguration())
    let content = ObjectContent(bytes(10))
    let failures = [
      try await storeError { _ = try await store.head("k") },
      try await storeError { _ = try await store.get("k") },
      try await storeError { try await store.put("k", content, contentType: "text/plain") },
      try await storeError { _ = try await store.list(prefix: "", after: nil) },
    ]
    for error in failures {
      #expect(error.kind == .noSuchBucket, "\(error)")
      #expect(error.remedy?.contains("create the bucket") == true)
    }
  }

  @Test func saysWhatIsWrongWithTheEndpoint() async throws {
    var configuration = try await StoreServer.seaweedConfiguration()
    configuration.retries.attempts = 1
    configuration.endpoint = "http://127.0.0.1:\(try FreePorts.find(1)[0])"
    let refused = try await storeError { _ = try await S3Client(configuration).get("k") }
    #expect(refused.kind == .connection)
    #expect(!refused.outcomeIsUnknown)
    #expect("\(refused)".contains("cannot be reached"))
    configuration.endpoint = "http://no-such-host.invalid"
    let unknown = try await storeError { try await S3Client(configuration).delete("k") }
    #expect(unknown.kind == .connection)
    #expect(!unknown.outcomeIsUnknown)
    let noTLS = try await StoreServer.startedSeaweed().endpoint.replacing("http:", with: "https:")
    configuration.endpoint = noTLS
    #expect(try await storeError { _ = try await S3Client(configuration).get("k") }.kind == .connection)
  }

  @Test func saysWhatIsWrongWithTheCredentials() async throws {
    var configuration = try await StoreServer.seaweedConfiguration()
    try await S3Client(configuration).createBucket()
    let secret = "a-secret-that-is-wrong"
    for (key, code) in [("nobody", "InvalidAccessKeyId"), ("jam", "SignatureDoesNotMatch")] {
      configuration.credentials = S3CredentialSource(given: S3Credentials(accessKeyID: key, secretAccessKey: secret))
      let store = try S3Client(configuration)
      let error = try await storeError { _ = try await store.get("k") }
      #expect(error.kind == .invalidCredentials)
      #expect(error.code == code)
      #expect(error.remedy != nil)
      #expect(!"\(error)".contains(secret))
      let large = try await storeError { try await store.put("k", bytes(3 << 20)) }
      #expect(large.kind == .invalidCredentials)
    }
  }

  @Test func saysThatClocksDiffer() async throws {
    let fixture = try await Fixture { _, surroundings in surroundings.now = { Date(timeIntervalSinceNow: -3600) } }
    let error = try await storeError { _ = try await fixture.store.get("k") }
    #expect(error.kind == .clockSkew)
    #expect(error.remedy?.contains("clock") == true)
    #expect(fixture.proxy.requests.count == 1)
  }

  @Test func readsCredentialsAgainWhenTheyAreRefused() async throws {
    let folder = try TemporaryFolder()
    let server = try await StoreServer.startedSeaweed()
    func write(_ key: String) throws -> String {
      try folder.write(
        "credentials",
        "[default]\naws_access_key_id=\(key)\naws_secret_access_key=\(server.credentials.secretAccessKey.text)\n"
      )
    }
    let file = try write("rotated-away")
    let fixture = try await Fixture { configuration, _ in
      configuration.credentials = S3CredentialSource(environment: ["AWS_SHARED_CREDENTIALS_FILE": file])
    }
    #expect(
      try await storeError { _ = try await fixture.store.list(prefix: "", after: nil) }.kind == .invalidCredentials
    )
    #expect(fixture.proxy.requests.count == 1)
    _ = try write(server.credentials.accessKeyID)
    #expect(try await fixture.store.list(prefix: "", after: nil).objects.isEmpty)
    let expired = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
    fixture.proxy.plan("GET", .answer("400 Bad Request", body: expired))
    let error = try await storeError { _ = try await fixture.store.list(prefix: "", after: nil) }
    #expect(error.code == "ExpiredToken")
  }

  @Test func namesTheRightRegion() async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan("GET", .answer("301 Moved Permanently", headers: ["x-amz-bucket-region: eu-north-1"]))
    let error = try await storeError { _ = try await fixture.store.get("k") }
    #expect(error.kind == .invalidConfiguration)
    #expect(error.remedy?.contains("set it to eu-north-1") == true)
  }

  /// Small and not: one is compared by its tag, the other by what the store says of it.
  @Test(arguments: [1000, 2 << 20]) func whatTheStoreOnlySaysItHasIsNotStored(size: Int) async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan("PUT", .answer("200 OK", headers: ["ETag: \"0123\""]))
    let error = try await storeError { try await fixture.store.put("k", bytes(size)) }
    #expect(error.kind == .invalidResponse && error.description.contains("the store has no bytes of \(size)"))
  }

  @Test func whatIsAlwaysDamagedOnItsWayIsNotTheSourcesFault() async throws {
    let fixture = try await Fixture()
    fixture.proxy.plan("PUT", .damage, .damage, .damage, .damage)
    let error = try await storeError { try await fixture.store.put("k", bytes(100_000)) }
    #expect(error.kind == .damagedInTransit && error.attempts == 4)
    #expect(try await fixture.direct.head("k") == nil)
  }

  /// As a store would do that looks at no checksum: it has other bytes of the same number, and says so by its tag.
  @Test func anObjectWithAnotherTagIsReadBack() async throws {
    let fixture = try await Fixture()
    let right = bytes(1000)
    for stored in [right, bytes(1000, seed: 2)] {
      try await fixture.direct.put("k", stored)
      fixture.proxy.plan("PUT", .answer("200 OK", headers: ["ETag: \"0123\""]))
      if stored == right {
        try await fixture.store.put("k", right)
      } else {
        let error = try await storeError { try await fixture.store.put("k", right) }
        #expect(error.kind == .damagedInTransit && error.description.contains(sha256(Data(stored.readableBytesView))))
      }
    }
  }
}
