import Crypto
import Foundation

/// Signature Version 4 in the `Authorization` header.
///
/// As in "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk (AWS Signature
/// Version 4)" of the Amazon S3 API Reference, sigv4-auth-header-based-authentication.
struct SigV4Signer: Sendable {
  /// What is signed. `host` is among the headers.
  struct Request {
    var method: String
    /// Percent-encoded as it goes over the wire. S3 neither normalises nor encodes it again.
    var path: String
    var query: [(name: String, value: String)] = []
    var headers: [(name: String, value: String)]
    /// Hexadecimal.
    var payloadHash: String
  }

  private static let algorithm = "AWS4-HMAC-SHA256"

  let region: String
  var service = "s3"

  /// The headers to be added, `Authorization` among them; those of the request must be sent as they are.
  func sign(_ request: Request, with credentials: S3Credentials, at date: Date) -> [(name: String, value: String)] {
    let timestamp = Timestamp.basic(date)
    var added = [(name: "x-amz-date", value: timestamp)]
    if let token = credentials.sessionToken {
      added.append((name: "x-amz-security-token", value: token.text))
    }
    var complete = request
    complete.headers += added
    let scope = "\(timestamp.prefix(8))/\(region)/\(service)/aws4_request"
    let canonical = Self.canonicalRequest(complete)
    let hash = SHA256.hash(data: Data(canonical.text.utf8)).hexadecimal
    let toSign = "\(Self.algorithm)\n\(timestamp)\n\(scope)\n\(hash)"

    var key = SymmetricKey(data: Data("AWS4\(credentials.secretAccessKey.text)".utf8))
    for part in scope.split(separator: "/") {
      key = SymmetricKey(data: HMAC<SHA256>.authenticationCode(for: Data(part.utf8), using: key))
    }
    let signature = HMAC<SHA256>.authenticationCode(for: Data(toSign.utf8), using: key).hexadecimal
    let authorization =
      "\(Self.algorithm) Credential=\(credentials.accessKeyID)/\(scope), "
      + "SignedHeaders=\(canonical.signedHeaders), Signature=\(signature)"
    return added + [(name: "Authorization", value: authorization)]
  }

  static func canonicalRequest(_ request: Request) -> (text: String, signedHeaders: String) {
    var values: [String: [String]] = [:]
    for header in request.headers {
      values[header.name.lowercased(), default: []].append(trimmed(header.value))
    }
    // All names are ASCII, so that the order of the characters is that of the bytes.
    let names = values.keys.sorted()
    let signedHeaders = names.joined(separator: ";")
    let lines = names.map { "\($0):\((values[$0] ?? []).joined(separator: ","))\n" }
    let text = [
      request.method, request.path, encodedQuery(request.query), lines.joined(), signedHeaders, request.payloadHash,
    ].joined(separator: "\n")
    return (text, signedHeaders)
  }

  /// The query as it is signed and sent: encoded, then sorted by name and value.
  static func encodedQuery(_ query: [(name: String, value: String)]) -> String {
    query
      .map { (name: encoded($0.name), value: encoded($0.value)) }
      .sorted { ($0.name, $0.value) < ($1.name, $1.value) }
      .map { "\($0.name)=\($0.value)" }
      .joined(separator: "&")
  }

  /// The path of a key; the slashes stay.
  static func encodedPath(_ path: String) -> String {
    PercentEncoding.encode(path) { byte, _ in isUnreserved(byte) || byte == UInt8(ascii: "/") }
  }

  private static func encoded(_ text: String) -> String {
    PercentEncoding.encode(text) { byte, _ in isUnreserved(byte) }
  }

  private static func isUnreserved(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
      true
    default: false
    }
  }

  private static func trimmed(_ value: String) -> String {
    value.split(whereSeparator: { $0.isWhitespace }).joined(separator: " ")
  }
}
