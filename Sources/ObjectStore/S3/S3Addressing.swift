/// Where the bucket is named in a request.
public enum S3Addressing: String, Sendable, CaseIterable {
  /// In the path: `https://s3.example.org/bucket/key`. Most stores besides AWS.
  case path
  /// In the host: `https://bucket.s3.example.org/key`. AWS.
  case virtualHosted = "virtual-hosted"
}
