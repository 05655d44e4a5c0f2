import Testing

@testable import ObjectStore

@Suite struct LocationTests {
  @Test(
    arguments: [
      (nil, nil, "https://bucket.s3.eu-north-1.amazonaws.com/a%20b/%C3%BC%2B%252F"),
      ("https://s3.example.org:9000", nil, "https://s3.example.org:9000/bucket/a%20b/%C3%BC%2B%252F"),
      ("HTTPS://s3.example.org:443/", nil, "https://s3.example.org/bucket/a%20b/%C3%BC%2B%252F"),
      ("http://s3.example.org:80", .virtualHosted, "http://bucket.s3.example.org/a%20b/%C3%BC%2B%252F"),
      ("http://[::1]:9000", nil, "http://[::1]:9000/bucket/a%20b/%C3%BC%2B%252F"),
    ] as [(String?, S3Addressing?, String)]
  ) func urls(endpoint: String?, addressing: S3Addressing?, url: String) throws {
    var configuration = S3Configuration(endpoint: endpoint, region: "eu-north-1", bucket: "bucket")
    configuration.addressing = addressing
    let location = try S3Location(configuration)
    #expect(location.url(path: location.path("a b/ü+%2F"), query: "") == url)
  }

  @Test(arguments: [
    "", "s3.example.org", "ftp://s3.example.org", "http://", "http://h/path", "http://h?q", "http://h:x", "//h",
  ])
  func refusesAnEndpoint(endpoint: String) async throws {
    let error = try await storeError { _ = try S3Client(S3Configuration(endpoint: endpoint, bucket: "bucket")) }
    #expect(error.kind == .invalidConfiguration)
  }

  @Test(arguments: ["", "ab", "a/b", "a..b", ".abc", "a b c", "bücket", "a\r\nb", String(repeating: "a", count: 64)])
  func refusesABucket(bucket: String) async throws {
    let error = try await storeError { _ = try S3Client(S3Configuration(bucket: bucket)) }
    #expect(error.kind == .invalidConfiguration)
  }

  @Test func refusesAFileThatHoldsNoCertificate() async throws {
    var configuration = S3Configuration(bucket: "bucket")
    configuration.certificateAuthorityFile = "/nonexistent"
    let error = try await storeError { _ = try S3Client(configuration) }
    #expect(error.kind == .invalidConfiguration)
    #expect("\(error)".contains("/nonexistent"))
  }
}
