import ArgumentParser
import Foundation
import RetentionRunner

/// Where objects are. Secrets are no flags: everybody sees a program's arguments.
struct BlobStoreOptions: ParsableArguments {
  @Option(help: "The S3 bucket.")
  var bucket: String?

  @Option(help: "The store's URL; default: AWS's in the region.")
  var endpoint: String?

  @Option(help: "The region that requests are signed for.")
  var region: String?

  @Option(help: "What stands before every object's name; default: preimages/.")
  var prefix: String?

  @Option(help: "A directory in place of a bucket.")
  var directory: String?

  @Option(help: "Whether the bucket is named in the path; default: true for a given endpoint, false for AWS.")
  var forcePathStyle: Bool?

  @Option(help: "A file of PEM certificates to be trusted in place of the system's.")
  var caFile: String?

  @Option(help: "The shared credentials file; default: what AWS_SHARED_CREDENTIALS_FILE names, ~/.aws/credentials.")
  var credentialsFile: String?

  @Option(help: "The profile in that file; default: AWS_PROFILE, default.")
  var profile: String?

  var flags: [ConfigurationFlag] {
    // Keys that are configured would go before those of a file.
    let noKey = credentialsFile != nil || profile != nil ? "" : nil
    let namedBy = credentialsFile != nil ? "--credentials-file" : "--profile"
    return [
      ConfigurationFlag(.blobStoreBucket, "--bucket", bucket),
      ConfigurationFlag(.blobStoreEndpoint, "--endpoint", endpoint),
      ConfigurationFlag(.blobStoreRegion, "--region", region),
      ConfigurationFlag(.blobStorePrefix, "--prefix", prefix),
      ConfigurationFlag(.blobStoreDirectory, "--directory", directory),
      ConfigurationFlag(.blobStoreForcesPathStyle, "--force-path-style", forcePathStyle.map { "\($0)" }),
      ConfigurationFlag(.blobStoreCAFile, "--ca-file", caFile),
      ConfigurationFlag(.blobStoreAccessKey, namedBy, noKey),
      ConfigurationFlag(.blobStoreSecretKey, namedBy, noKey),
    ]
  }

  /// The variables of the process, and what flags put in their place: credentials of a file that is named go before all
  /// others.
  var environment: [String: String] {
    var environment = ProcessInfo.processInfo.environment
    if let credentialsFile { environment["AWS_SHARED_CREDENTIALS_FILE"] = credentialsFile }
    if let profile { environment["AWS_PROFILE"] = profile }
    if credentialsFile != nil || profile != nil {
      for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] { environment[name] = nil }
    }
    return environment
  }
}
