import Foundation

/// Where a bucket is and how it is talked to.
public struct S3Configuration: Sendable {
  /// The store, `https://s3.example.org:9000` for example; nil: AWS's in the region.
  public var endpoint: String?
  /// The region that requests are signed for; most stores besides AWS take any.
  public var region: String
  /// The bucket.
  public var bucket: String
  /// Where the bucket is named; nil: in the path for a given endpoint, in the host for AWS.
  public var addressing: S3Addressing?
  /// A file of PEM certificates to be trusted in place of the system's.
  public var certificateAuthorityFile: String?
  /// Where credentials come from.
  public var credentials: S3CredentialSource
  /// How failed requests are repeated.
  public var retries: S3RetryPolicy
  /// Without a byte sent or received for so long, a request has failed.
  public var stallTimeout: Duration
  /// A content of more bytes than this is uploaded in parts; a smaller one in one request, all of which is repeated where it
  /// fails. AWS takes 5 GiB in one request.
  public var multipartThreshold: Int
  /// The bytes of a part, each of which is held in memory while it is sent; at least 5 MiB on AWS. It grows where a content
  /// would have more than 10,000 parts.
  public var partSize: Int
  /// How many parts this client holds in memory and sends at once, over all uploads.
  public var concurrentParts: Int

  /// Settings, the rest of which may be changed afterwards.
  public init(
    endpoint: String? = nil,
    region: String = "us-east-1",
    bucket: String,
    credentials: S3CredentialSource = S3CredentialSource()
  ) {
    self.endpoint = endpoint
    self.region = region
    self.bucket = bucket
    self.credentials = credentials
    retries = S3RetryPolicy()
    stallTimeout = .seconds(30)
    // As the Amazon S3 User Guide advises ("Uploading and copying objects using multipart upload").
    multipartThreshold = 100 << 20
    partSize = 5 << 20
    concurrentParts = 3
  }
}
