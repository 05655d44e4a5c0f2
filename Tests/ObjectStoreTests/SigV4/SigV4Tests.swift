import Foundation
import Testing

@testable import ObjectStore

/// AWS's published vectors: the Signature Version 4 test suite, and the examples of the Amazon S3 API Reference.
@Suite struct SigV4Tests {
  struct Vector: CustomTestStringConvertible {
    let name: String
    var method = "GET"
    var path = "/"
    var query: [(name: String, value: String)] = []
    var headers: [(name: String, value: String)] = []
    var body = ""
    var token: String?
    let signature: String

    var testDescription: String { name }
  }

  private static let unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

  /// Signed with the service `service` at 2015-08-30T12:36:00Z. Paths that other services would normalise are left out.
  static let suite = [
    Vector(
      name: "get-header-key-duplicate",
      headers: [("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
      signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"
    ),
    Vector(
      name: "get-header-value-multiline",
      headers: [("My-Header1", "value1\n  value2\n     value3")],
      signature: "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd"
    ),
    Vector(
      name: "get-header-value-order",
      headers: ["value4", "value1", "value3", "value2"].map { ("My-Header1", $0) },
      signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"
    ),
    Vector(
      name: "get-header-value-trim",
      headers: [("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
      signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"
    ),
    Vector(
      name: "get-relative-relative-unnormalized",
      path: "/example1/example2/../..",
      signature: "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b"
    ),
    Vector(
      name: "get-relative-unnormalized",
      path: "/example/..",
      signature: "eca7ead57bb5aa5c8e28007acd4ff04e1ff9a0ff3b237ec1554a184887ff9282"
    ),
    Vector(
      name: "get-slash-dot-slash-unnormalized",
      path: "/./",
      signature: "68714168e6557f8f2de0ef956fc24dc2593a4bd2961f8df51898d8a134695145"
    ),
    Vector(
      name: "get-slash-pointless-dot-unnormalized",
      path: "/./example",
      signature: "beb03f223f7deae4146464f06e29eebbee9c8afbe15c290cf07aa8b119e14cff"
    ),
    Vector(
      name: "get-slash-unnormalized",
      path: "//",
      signature: "c88bcd3d312d75078c0cd961d6deae3f4c754924b01669efcfcb439fd5e5b76e"
    ),
    Vector(
      name: "get-slashes-unnormalized",
      path: "//example//",
      signature: "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5"
    ),
    Vector(
      name: "get-space-unnormalized",
      path: "/example space/",
      signature: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"
    ),
    Vector(
      name: "get-unreserved",
      path: "/\(unreserved)",
      signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"
    ),
    Vector(
      name: "get-utf8",
      path: "/\u{1234}",
      signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"
    ),
    Vector(
      name: "get-vanilla-empty-query-key",
      query: [("Param1", "value1")],
      signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"
    ),
    Vector(
      name: "get-vanilla-query-order-encoded",
      query: [("Param-3", "Value3"), ("Param", "Value2"), ("\u{1234}", "Value1")],
      signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"
    ),
    Vector(
      name: "get-vanilla-query-order-key-case",
      query: [("Param2", "value2"), ("Param1", "value1")],
      signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
    ),
    Vector(
      name: "get-vanilla-query-unreserved",
      query: [(unreserved, unreserved)],
      signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"
    ),
    Vector(
      name: "get-vanilla-utf8-query",
      query: [("\u{1234}", "bar")],
      signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"
    ),
    Vector(
      name: "get-vanilla-with-session-token",
      token: "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
      signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"
    ),
    Vector(name: "get-vanilla", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    Vector(
      name: "post-header-key-sort",
      method: "POST",
      headers: [("My-Header1", "value1")],
      signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"
    ),
    Vector(
      name: "post-header-value-case",
      method: "POST",
      headers: [("My-Header1", "VALUE1")],
      signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"
    ),
    Vector(
      name: "post-vanilla-query",
      method: "POST",
      query: [("Param1", "value1")],
      signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"
    ),
    Vector(
      name: "post-vanilla",
      method: "POST",
      signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    ),
  ]

  @Test(arguments: suite) func testSuite(vector: Vector) throws {
    let credentials = S3Credentials(
      accessKeyID: "AKIDEXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      sessionToken: vector.token
    )
    let signed = try sign(
      vector,
      "example.amazonaws.com",
      "service",
      credentials,
      "2015-08-30T12:36:00Z",
      hashed: false
    )
    #expect(signed.hasSuffix("Signature=\(vector.signature)"))
  }

  /// "Authenticating Requests: Using the Authorization Header", its four examples.
  static let examples = [
    Vector(
      name: "GET Object",
      path: "/test.txt",
      headers: [("Range", "bytes=0-9")],
      signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    ),
    Vector(
      name: "PUT Object",
      method: "PUT",
      path: "/test$file.text",
      headers: [("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
      body: "Welcome to Amazon S3.",
      signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    ),
    Vector(
      name: "GET Bucket Lifecycle",
      query: [("lifecycle", "")],
      signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    ),
    Vector(
      name: "GET Bucket (List Objects)",
      query: [("max-keys", "2"), ("prefix", "J")],
      signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    ),
  ]

  @Test(arguments: examples) func exampleOfS3(vector: Vector) throws {
    let credentials = S3Credentials(
      accessKeyID: "AKIAIOSFODNN7EXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    )
    let host = "examplebucket.s3.amazonaws.com"
    let signed = try sign(vector, host, "s3", credentials, "2013-05-24T00:00:00Z", hashed: true)
    #expect(signed.hasPrefix("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "))
    #expect(signed.hasSuffix("Signature=\(vector.signature)"))
  }

  private func sign(
    _ vector: Vector,
    _ host: String,
    _ service: String,
    _ credentials: S3Credentials,
    _ time: String,
    hashed: Bool
  ) throws -> String {
    let hash = sha256(Data(vector.body.utf8))
    let request = SigV4Signer.Request(
      method: vector.method,
      path: SigV4Signer.encodedPath(vector.path),
      query: vector.query,
      headers: [("Host", host)] + vector.headers + (hashed ? [("x-amz-content-sha256", hash)] : []),
      payloadHash: hash
    )
    let date = try #require(Timestamp.iso8601(time))
    let added = SigV4Signer(region: "us-east-1", service: service).sign(request, with: credentials, at: date)
    #expect(added.contains { $0.name == "x-amz-security-token" } == (vector.token != nil))
    return try #require(added.last { $0.name == "Authorization" }?.value)
  }
}
