import EmbeddedMoto
import EmbeddedSeaweed
import Foundation
import ObjectStore
import Testing

/// The servers that the tests share, each started by the first test that needs it.
enum StoreServer {
  private static let seaweed = Task { try await EmbeddedSeaweed.start() }
  private static let moto = Task { try await EmbeddedMoto.start() }

  static let hasSeaweed = (try? EmbeddedSeaweed.locate()) != nil
  static let hasMoto = EmbeddedMoto.program != nil

  static let seaweedIsMissing: Comment = "SeaweedFS is not installed (make test-deps)"
  static let motoIsMissing: Comment = "moto is not installed (make test-deps)"

  static func startedSeaweed() async throws -> EmbeddedSeaweed {
    try await seaweed.value
  }

  /// Settings for a new bucket of SeaweedFS, which does not exist yet.
  static func seaweedConfiguration() async throws -> S3Configuration {
    try await seaweed.value.configuration(bucket: newName())
  }

  static func motoConfiguration() async throws -> S3Configuration {
    try await moto.value.configuration(bucket: newName())
  }

  static func newName() -> String {
    "test-\(UUID().uuidString.lowercased())"
  }
}
