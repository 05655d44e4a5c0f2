import EmbeddedSeaweed
import Foundation
import TestSupport
import Testing

@testable import ObjectStore

/// What the commands say when an S3 store refuses them, and what they never say.
@Suite(
  .enabled(if: (try? EmbeddedSeaweed.locate()) != nil, "SeaweedFS is not installed (make test-deps)")
) struct StoreFailureTests {
  private static let server = Task { try await EmbeddedSeaweed.start() }

  private let database: CommandDatabase
  private let environment: [String: String]
  private let secrets: [String]

  init() async throws {
    let server = try await Self.server.value
    let bucket = "test-\(UUID().uuidString.lowercased())"
    try await S3Client(server.configuration(bucket: bucket)).createBucket()
    database = try CommandDatabase()
    try database.succeed("migrate", "up")
    try database.connection.execute(
      """
      INSERT INTO jam_preimages (hash, size, data)
      SELECT encode(sha256(c), 'hex'), octet_length(c), c FROM (SELECT convert_to(n::text, 'UTF8') AS c FROM generate_series(1, 3) AS n) AS s
      """
    )
    secrets = [server.credentials.secretAccessKey.text, "Correct-Horse"]
    environment = [
      "RUNTIME_JAM_PG_DSN": "\(database.connectionString) password=Correct-Horse",
      "RUNTIME_JAM_BLOB_STORE_ENDPOINT": server.endpoint,
      "RUNTIME_JAM_BLOB_STORE_BUCKET": bucket,
      "RUNTIME_JAM_BLOB_STORE_ACCESS_KEY": server.credentials.accessKeyID,
      "RUNTIME_JAM_BLOB_STORE_SECRET_KEY": server.credentials.secretAccessKey.text,
    ]
  }

  /// Runs it with everything logged; whatever it says, no secret is part of it.
  private func run(_ arguments: [String], _ changes: [String: String] = [:]) throws -> Command.Result {
    let result = try Command.run(
      arguments + ["--log-level", "trace"],
      environment: environment.merging(changes) { $1 }
    )
    let changed = ["ACCESS_KEY", "SECRET_KEY"].compactMap { changes["RUNTIME_JAM_BLOB_STORE_\($0)"] }
    for secret in secrets + changed {
      #expect(!(result.output + result.error).contains(secret), "\(arguments)")
    }
    return result
  }

  @Test("Everything works, and says no secret")
  func works() throws {
    let hash = try database.connection.query("SELECT min(hash) AS hash FROM jam_preimages").first?.string("hash")
    for arguments in [
      ["offload", "--min-bytes", "0"], ["fsck", "--deep"], ["blob", "head", try #require(hash)],
      ["blob", "get", try #require(hash)], ["restore"], ["sweep"], ["status"], ["doctor"],
    ] {
      let result = try run(arguments)
      #expect(result.status == 0, "\(arguments): \(result.error)")
    }
    #expect(try database.int("SELECT count(*) FROM jam_preimages WHERE data IS NULL") == 0)
    #expect(try run(["fsck"]).output == "0 objects, 0 B; 0 blobs; 0 findings\n")
  }

  @Test("Credentials of a file that a flag names go before keys that are configured")
  func credentialsOfAFile() throws {
    let folder = try TemporaryFolder()
    let file = "\(folder.path)/credentials"
    let keys = ["ACCESS_KEY", "SECRET_KEY"].map { environment["RUNTIME_JAM_BLOB_STORE_\($0)"] ?? "" }
    try "[admin]\naws_access_key_id = \(keys[0])\naws_secret_access_key = \(keys[1])\n"
      .write(toFile: file, atomically: true, encoding: .utf8)
    let wrong = ["RUNTIME_JAM_BLOB_STORE_ACCESS_KEY": "AKIAUNKNOWNUNKNOWN"]
    #expect(try run(["fsck"], wrong).status == 1)
    let result = try run(["fsck", "--credentials-file", file, "--profile", "admin"], wrong)
    #expect(result.status == 0, "\(result.error)")
  }

  @Test(
    "Wrong bucket, credentials, endpoint: the store's own message, what to do, and every row is as it was",
    arguments: [
      (["BUCKET": "no-such-bucket"], "bucket does not exist", "create the bucket"),
      (["ACCESS_KEY": "AKIAUNKNOWNUNKNOWN"], "does not exist in our records", "check the access key"),
      (["SECRET_KEY": "a-secret-that-is-wrong"], "does not match the signature", "check the secret access key"),
      (["ENDPOINT": "http://127.0.0.1:1"], "cannot be reached", "http://127.0.0.1:1"),
      (["ENDPOINT": "ftp://127.0.0.1"], "the endpoint is not a URL", "https://s3.example.org:9000"),
    ]
  )
  func refused(settings: [String: String], message: String, remedy: String) throws {
    let changes = Dictionary(uniqueKeysWithValues: settings.map { ("RUNTIME_JAM_BLOB_STORE_\($0)", $1) })
    let result = try run(["offload", "--min-bytes", "0"], changes)
    #expect(result.status == 1 && result.error.contains(message) && result.error.contains(remedy), "\(result.error)")
    #expect(try database.int("SELECT count(*) FROM jam_preimages WHERE data IS NULL") == 0)
    #expect(try database.int("SELECT count(*) FROM jam_blob_uploads") == 0)
  }

  @Test("No secret is among the arguments of the process, which everybody sees")
  func arguments() throws {
    let command = try Command(["offload", "--min-bytes", "0", "--max-rate", "1", "--quiet"], environment: environment)
    while try database.int("SELECT count(*) FROM jam_blob_uploads") == 0 {}
    let arguments = try String(contentsOfFile: "/proc/\(command.processID)/cmdline", encoding: .utf8)
    kill(command.processID, SIGINT)
    #expect(arguments.contains("offload") && secrets.allSatisfy { !arguments.contains($0) })
    #expect(try command.end().status == 130)
  }
}
