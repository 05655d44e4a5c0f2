import Configuration

/// The keys below `runtime.jam`.
public enum ConfigurationKey: String, CaseIterable, Sendable {
  case isEnabled = "enabled"
  case store
  case connectionString = "pg_dsn"
  case retentionDays = "retention_days"
  case retentionInterval = "retention_interval"
  case isDryRun = "retention_dry_run"
  case storageClass = "storage_class"
  case schema
  case refcounting
  case model

  /// What stands before every key, in a file and, in capitals, in the environment.
  static let prefix = ["runtime", "jam"]
  /// Keys below these belong to the object store, which reads and checks them itself.
  static let groups = ["blob_store"]

  /// `runtime.jam.retention_days`.
  public var path: String { (Self.prefix + [rawValue]).joined(separator: ".") }
  /// `RUNTIME_JAM_RETENTION_DAYS`.
  public var environmentVariable: String { Self.environmentPrefix + rawValue.uppercased() }

  static let environmentPrefix = prefix.map { $0.uppercased() + "_" }.joined()

  var absolute: AbsoluteConfigKey { AbsoluteConfigKey(Self.prefix + [rawValue]) }
  /// Whether the value may never be shown.
  var isSecret: Bool { self == .connectionString }
}
