import EmbeddedSeaweed
import Foundation
import TestSupport
import Testing

@testable import ObjectStore

/// A store that speaks TLS with a certificate of an authority that no system trusts.
@Suite(
  .enabled(if: StoreServer.hasSeaweed, StoreServer.seaweedIsMissing),
  .enabled(if: EmbeddedSeaweed.canUseTLS, "openssl is not installed")
) struct TLSTests {
  private static let server = Task { try await EmbeddedSeaweed.start(usesTLS: true) }

  private func configuration() async throws -> S3Configuration {
    var configuration = try await Self.server.value.configuration(bucket: StoreServer.newName())
    configuration.retries.attempts = 3
    return configuration
  }

  @Test("With the authority's certificate everything works, in one request and in parts")
  func trusted() async throws {
    var configuration = try await configuration()
    configuration.multipartThreshold = 5 << 20
    let store = try S3Client(configuration)
    try await store.createBucket()
    for content in [bytes(0), bytes(1000), bytes(12 << 20)] {
      try await store.put("k", content)
      #expect(try await store.head("k")?.size == Int64(content.readableBytes))
      #expect(try await store.bytes("k") == content)
    }
    #expect(try await store.list(prefix: "", after: nil).objects.map(\.key) == ["k"])
    #expect(try await store.delete(["k"]).isEmpty)
  }

  @Test("Without it, with another authority's, and under another name: refused at once, and what to do")
  func refused() async throws {
    let folder = try TemporaryFolder()
    let other = try await EmbeddedSeaweed.start(usesTLS: true)
    defer { other.stop() }
    var systems = try await configuration()
    systems.certificateAuthorityFile = nil
    var others = try await configuration()
    others.certificateAuthorityFile = other.certificateAuthorityFile
    var renamed = try await configuration()
    renamed.endpoint = renamed.endpoint?.replacing("localhost", with: "127.0.0.1")
    for configuration in [systems, others, renamed] {
      func refusal() async throws -> ObjectStoreError {
        try await storeError { _ = try await S3Client(configuration).get("k") }
      }
      var error = try await refusal()
      // On a busy machine an attempt may fail before it comes as far as the certificate: look again.
      for _ in 1..<3 where error.attempts > 1 { error = try await refusal() }
      #expect(error.kind == .connection && error.attempts == 1 && !error.outcomeIsUnknown, "\(error)")
      #expect(error.message.contains("no TLS connection to https://"), "\(error)")
      #expect(error.remedy?.contains("check the certificate of the store") == true, "\(error)")
    }
    var missing = systems
    for (path, text) in [("\(folder.path)/none", nil), ("\(folder.path)/text", "no certificate")] {
      if let text { try Data(text.utf8).write(to: URL(filePath: path)) }
      missing.certificateAuthorityFile = path
      let error = try await storeError { _ = try S3Client(missing) }
      #expect(error.kind == .invalidConfiguration && "\(error)".contains(path), "\(error)")
    }
  }
}
