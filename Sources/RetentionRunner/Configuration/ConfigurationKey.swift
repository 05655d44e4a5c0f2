import Configuration

/// The keys below `runtime.jam`.
public enum ConfigurationKey: String, CaseIterable, Sendable {
  case isEnabled = "enabled"
  case store
  case connectionString = "pg_dsn"
  case retentionDays = "retention_days"
  case retentionInterval = "retention_interval"
  case retentionTime = "retention_time"
  case retentionJitter = "retention_jitter"
  case listenAddress = "listen"
  case isDryRun = "retention_dry_run"
  case storageClass = "storage_class"
  case schema
  case refcounting
  case model
  case blobStoreIsEnabled = "blob_store.enabled"
  case blobStoreEndpoint = "blob_store.endpoint"
  case blobStoreBucket = "blob_store.bucket"
  case blobStoreRegion = "blob_store.region"
  case blobStorePrefix = "blob_store.prefix"
  case blobStoreForcesPathStyle = "blob_store.force_path_style"
  case blobStoreAccessKey = "blob_store.access_key"
  case blobStoreSecretKey = "blob_store.secret_key"
  case blobStoreCAFile = "blob_store.ca_file"
  case blobStoreDirectory = "blob_store.directory"

  /// What stands before every key, in a file and, in capitals, in the environment.
  static let prefix = ["runtime", "jam"]
  /// `runtime.jam.retention_days`.
  public var path: String { (Self.prefix + [rawValue]).joined(separator: ".") }
  /// `RUNTIME_JAM_RETENTION_DAYS`.
  public var environmentVariable: String { Self.environmentPrefix + rawValue.uppercased().replacing(".", with: "_") }

  static let environmentPrefix = prefix.map { $0.uppercased() + "_" }.joined()

  var absolute: AbsoluteConfigKey { AbsoluteConfigKey(Self.prefix + rawValue.split(separator: ".").map(String.init)) }
  /// Whether the value may never be shown.
  var isSecret: Bool { [.connectionString, .blobStoreAccessKey, .blobStoreSecretKey].contains(self) }
}
