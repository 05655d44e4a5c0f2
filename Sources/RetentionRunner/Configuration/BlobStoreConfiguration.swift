import Foundation
import ObjectStore
import Secrets

/// Which object store large blobs go to: the keys below `runtime.jam.blob_store`, and AWS's own variables.
///
/// Source: "AWS SDKs and Tools Reference Guide" for `AWS_REGION`, `AWS_ENDPOINT_URL_S3` and those of the credentials.
public struct BlobStoreConfiguration: Sendable {
  /// Whether there is an object store at all; true where a bucket or directory is given, unless `enabled` says otherwise.
  public let isEnabled: Bool
  /// What stands before every object's name.
  public let prefix: String
  private let endpoint: String?
  private let bucket: String?
  private let region: String?
  private let forcesPathStyle: Bool?
  private let accessKey: Secret?
  private let secretKey: Secret?
  private let otherCredentials: S3CredentialSource
  private let certificateAuthorityFile: String?
  private let directory: String?

  init(_ reader: inout ConfigurationReader, environment: [String: String]) {
    func variable(_ names: String...) -> String? {
      names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
    }
    endpoint = reader.text(.blobStoreEndpoint).value ?? variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    bucket = reader.text(.blobStoreBucket).value
    region = reader.text(.blobStoreRegion).value ?? variable("AWS_REGION", "AWS_DEFAULT_REGION")
    prefix =
      reader.setting(.blobStorePrefix, allowed: "a text such as preimages/; it may be empty") { $0 }.or("preimages/")
      .value
    forcesPathStyle = reader.bool(.blobStoreForcesPathStyle).value
    accessKey = reader.credential(.blobStoreAccessKey)
    secretKey = reader.credential(.blobStoreSecretKey)
    certificateAuthorityFile = reader.text(.blobStoreCAFile).value
    directory = reader.text(.blobStoreDirectory).value
    isEnabled = reader.bool(.blobStoreIsEnabled).value ?? (bucket != nil || directory != nil)
    otherCredentials = S3CredentialSource(environment: environment)
  }

  /// The store in a directory.
  ///
  /// - Throws: ``RunnerError`` when another is configured, or none.
  public func directoryStore() throws -> DirectoryStore {
    try checkIsEnabled()
    guard let directory else {
      throw RunnerError(
        "the object store is no directory; \(bucket.map { "the bucket \($0)" } ?? "a bucket") is made with the store's own tools"
      )
    }
    guard bucket == nil else {
      throw RunnerError("both a bucket and a directory are set below runtime.jam.blob_store; give one of them")
    }
    return DirectoryStore(directory: directory)
  }

  private func checkIsEnabled() throws {
    guard isEnabled else {
      throw RunnerError(
        "no object store is configured; set runtime.jam.blob_store.bucket (--bucket) or .directory (--directory)"
      )
    }
  }

  /// The store.
  ///
  /// - Throws: ``RunnerError`` when it is disabled or lacks a setting; `ObjectStoreError` when a setting makes no sense.
  public func objectStore() throws -> any ObjectStore {
    try checkIsEnabled()
    if directory != nil { return try directoryStore() }
    guard let bucket else {
      throw RunnerError("the object store is enabled without a bucket; set runtime.jam.blob_store.bucket (--bucket)")
    }
    let credentials =
      switch (accessKey, secretKey) {
      case (let accessKey?, let secretKey?):
        S3CredentialSource(given: S3Credentials(accessKeyID: accessKey.text, secretAccessKey: secretKey.text))
      case (nil, nil): otherCredentials
      default:
        throw RunnerError("runtime.jam.blob_store.access_key and .secret_key go together; set both or neither")
      }
    var configuration = S3Configuration(
      endpoint: endpoint,
      region: region ?? "us-east-1",
      bucket: bucket,
      credentials: credentials
    )
    if let forcesPathStyle { configuration.addressing = forcesPathStyle ? .path : .virtualHosted }
    configuration.certificateAuthorityFile = certificateAuthorityFile
    return try S3Client(configuration)
  }
}

extension ConfigurationReader {
  /// A part of the credentials. A flag that is empty says: none of those that are configured.
  fileprivate mutating func credential(_ key: ConfigurationKey) -> Secret? {
    let setting = setting(key, allowed: "a text that is not empty") { $0 }
    guard let text = setting.value, text.isEmpty else { return setting.value.map { Secret($0) } }
    if !setting.origin.isFlag { refuse(key, allowed: "a text that is not empty") }
    return nil
  }
}
