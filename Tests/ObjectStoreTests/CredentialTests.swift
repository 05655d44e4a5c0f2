import Foundation
import TestSupport
import Testing

@testable import ObjectStore

@Suite struct CredentialTests {
  private static let key = ["AWS_ACCESS_KEY_ID": "AKENV", "AWS_SECRET_ACCESS_KEY": "env-secret"]

  @Test func givenOnesGoFirstThenTheEnvironmentThenTheFile() throws {
    let folder = try TemporaryFolder()
    let file = try folder.write(
      "credentials",
      """
      # a comment
      [default]
      aws_access_key_id = AKFILE
      aws_secret_access_key = file=secret
      [ other ]
      AWS_ACCESS_KEY_ID=AKOTHER
      aws_secret_access_key=other-secret
      aws_session_token = token
      """
    )
    var environment = Self.key
    environment["AWS_SHARED_CREDENTIALS_FILE"] = file
    let given = S3Credentials(accessKeyID: "AKGIVEN", secretAccessKey: "given-secret")
    #expect(try S3CredentialSource(given: given, environment: environment).read() == given)
    #expect(
      try S3CredentialSource(environment: environment).read()
        == S3Credentials(accessKeyID: "AKENV", secretAccessKey: "env-secret")
    )
    environment["AWS_ACCESS_KEY_ID"] = nil
    #expect(
      try S3CredentialSource(environment: environment).read()
        == S3Credentials(accessKeyID: "AKFILE", secretAccessKey: "file=secret")
    )
    environment["AWS_PROFILE"] = "other"
    #expect(
      try S3CredentialSource(environment: environment).read()
        == S3Credentials(accessKeyID: "AKOTHER", secretAccessKey: "other-secret", sessionToken: "token")
    )
  }

  @Test(arguments: [
    (["AWS_ACCESS_KEY_ID": "AK"], "AWS_SECRET_ACCESS_KEY is not"),
    (["AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"], "/nonexistent cannot be read"),
    (["HOME": "/nonexistent"], "no credentials are given"),
    (["AWS_SHARED_CREDENTIALS_FILE": #filePath, "AWS_PROFILE": "p"], "no profile [p]"),
  ]) func saysWhatIsMissing(environment: [String: String], message: String) async throws {
    let error = try await storeError { _ = try S3CredentialSource(environment: environment).read() }
    #expect(error.kind == .invalidCredentials)
    #expect(error.message.contains(message))
    #expect(error.remedy != nil)
  }

  @Test func readAgainBeforeTheyExpire() throws {
    let folder = try TemporaryFolder()
    func write(_ key: String, until expiration: String) throws -> String {
      try folder.write(
        "credentials",
        "[default]\naws_access_key_id=\(key)\naws_secret_access_key=s\naws_expiration=\(expiration)\n"
      )
    }
    let file = try write("AK1", until: "2026-01-01T12:00:00Z")
    let cache = CredentialCache(S3CredentialSource(environment: ["AWS_SHARED_CREDENTIALS_FILE": file]))
    let start = try #require(Timestamp.iso8601("2026-01-01T11:00:00Z"))
    #expect(try cache.credentials(at: start).accessKeyID == "AK1")
    _ = try write("AK2", until: "2026-01-01T13:00:00Z")
    #expect(try cache.credentials(at: start + 3000).accessKeyID == "AK1")
    #expect(try cache.credentials(at: start + 3599).accessKeyID == "AK2")
  }

  @Test func nothingShowsASecret() throws {
    let secret = "wJalrXUtnFEMI"
    let credentials = S3Credentials(accessKeyID: "AK", secretAccessKey: secret, sessionToken: "\(secret)-token")
    let source = S3CredentialSource(given: credentials)
    var configuration = S3Configuration(endpoint: "http://127.0.0.1:1", bucket: "bucket", credentials: source)
    let environment = ["AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": secret]
    var shown = ["\(credentials)", "\(source)", "\(configuration)", String(reflecting: configuration)]
    var text = ""
    dump(configuration, to: &text)
    dump(try S3Client(configuration), to: &text)
    configuration.credentials = S3CredentialSource(environment: environment)
    dump(configuration, to: &text)
    shown += [text, "\(configuration)", String(reflecting: configuration.credentials)]
    for text in shown {
      #expect(!text.contains(secret))
    }
  }

  @Test func anEndpointWithAPasswordIsRefusedWithoutShowingIt() async throws {
    let configuration = S3Configuration(endpoint: "https://user:hunter2@s3.example.org", bucket: "bucket")
    let error = try await storeError { _ = try S3Client(configuration) }
    #expect(error.kind == .invalidConfiguration)
    #expect(!"\(error)".contains("hunter2"))
  }
}
