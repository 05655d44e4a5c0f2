import Foundation

/// The parts of a request's URL that are the same for all requests.
struct S3Location: Sendable {
  let bucket: String
  let region: String
  /// As errors show it.
  let endpoint: String
  /// The value of `Host`.
  let host: String
  private let base: String
  private let bucketPath: String

  init(_ configuration: S3Configuration) throws {
    let operation = "use the bucket \(configuration.bucket.debugDescription)"
    func mistake(_ message: String, _ remedy: String) -> ObjectStoreError {
      ObjectStoreError(.invalidConfiguration, doing: operation, message, remedy: remedy)
    }
    func isPlain(_ text: String) -> Bool {
      text.utf8.allSatisfy { byte in
        byte < 128 && (Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber)
          || [UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_")].contains(byte)
      }
    }
    guard (3...63).contains(configuration.bucket.utf8.count), isPlain(configuration.bucket),
      configuration.bucket.first != ".", !configuration.bucket.contains("..")
    else {
      throw mistake("that is no name of a bucket", "it has 3 to 63 lower-case letters, digits, dots and hyphens")
    }
    guard !configuration.region.isEmpty, isPlain(configuration.region) else {
      throw mistake("the region is no name of a region", "name one, us-east-1 for example")
    }
    let given = configuration.endpoint ?? "https://s3.\(configuration.region).amazonaws.com"
    // The text is not repeated: somebody may have written a password into it.
    guard let url = URLComponents(string: given), let scheme = url.scheme?.lowercased(),
      ["http", "https"].contains(scheme),
      let name = url.host, !name.isEmpty, url.user == nil, url.password == nil, url.query == nil, url.fragment == nil,
      ["", "/"].contains(url.path)
    else {
      throw mistake(
        "the endpoint is not a URL of a scheme, a host and maybe a port",
        "write it like https://s3.example.org:9000, without bucket, path and credentials"
      )
    }
    let addressing = configuration.addressing ?? (configuration.endpoint == nil ? .virtualHosted : .path)
    let defaultPort = scheme == "https" ? 443 : 80
    let port = url.port.flatMap { $0 == defaultPort ? nil : ":\($0)" } ?? ""
    bucket = configuration.bucket
    region = configuration.region
    endpoint = "\(scheme)://\(name)\(port)"
    host = addressing == .path ? "\(name)\(port)" : "\(bucket).\(name)\(port)"
    base = "\(scheme)://\(host)"
    bucketPath = addressing == .path ? "/\(bucket)" : ""
  }

  /// The percent-encoded path of a key, or of the bucket.
  func path(_ key: String?) -> String {
    if let key { return "\(bucketPath)/\(SigV4Signer.encodedPath(key))" }
    return bucketPath.isEmpty ? "/" : bucketPath
  }

  func url(path: String, query: String) -> String {
    "\(base)\(path)\(query.isEmpty ? "" : "?\(query)")"
  }
}
