import Foundation
import Postgres
import RetentionModel
import Secrets

/// How the runner works: flags, then the environment, then a file, then the defaults.
public struct RetentionConfiguration: Sendable {
  /// Where the data live.
  public enum Store: String, CaseIterable, Sendable {
    case postgres
    /// They are gone with the process, so there is nothing to retain.
    case memory
  }

  /// Where new uploads over the threshold go.
  public enum StorageClass: String, CaseIterable, Sendable {
    case database = "db"
    case objectStore = "s3"
  }

  /// The environment variable that names the file where no flag does.
  public static let fileVariable = "JAM_RETENTION_CONFIG"
  private static let urlVariable = "DATABASE_URL"

  /// Whether commands may change data.
  public let isEnabled: Setting<Bool>
  /// Where the data live.
  public let store: Setting<Store>
  /// Days that everything is kept; 0 or less: the cleanup is disabled.
  public let retentionDays: Setting<Int>
  /// The time between two cleanups of the scheduler.
  public let retentionInterval: Setting<Duration>
  /// When the scheduler's cleanups begin; nil: an interval after the last.
  public let retentionTime: Setting<TimeOfDay?>
  /// What the first cleanup after the start of a service waits at most.
  public let retentionJitter: Setting<Duration>
  /// Where a service listens.
  public let listenAddress: Setting<ListenAddress>
  /// Whether a cleanup that is not told only counts.
  public let isDryRun: Setting<Bool>
  /// Where new uploads over the threshold go.
  public let storageClass: Setting<StorageClass>
  /// Where objects are.
  public let blobStore: BlobStoreConfiguration
  private let schema: Setting<String?>
  private let refcounting: Setting<RefcountingMode?>
  private let modelFile: Setting<String?>
  private let secretConnectionString: Setting<Secret?>

  /// Reads all sources.
  ///
  /// - Parameters:
  ///   - flags: those of the command line.
  ///   - environment: the variables of the process.
  ///   - file: a YAML or JSON file; nil: the one that ``fileVariable`` names, if any.
  /// - Throws: ``ConfigurationErrors`` with all mistakes.
  public init(
    flags: [ConfigurationFlag] = [],
    environment: [String: String] = ProcessInfo.processInfo.environment,
    file: String? = nil
  ) throws {
    let path = file ?? environment[Self.fileVariable].flatMap { $0.isEmpty ? nil : $0 }
    let contents = try path.map { try ConfigurationFile(path: $0) }
    var reader = ConfigurationReader(flags: flags, environment: environment, file: contents)
    isEnabled = reader.bool(.isEnabled).or(true)
    store = reader.choice(.store).or(.postgres)
    retentionDays = reader.setting(
      .retentionDays,
      allowed: "a whole number up to 36500; 0 or less disables the cleanup"
    ) { text in Int32(text).flatMap { $0 <= 36500 ? Int($0) : nil } }.or(30)
    retentionInterval = reader.duration(.retentionInterval, from: 1, "1s").or(.seconds(86400))
    retentionJitter = reader.duration(.retentionJitter, from: 0, "0s").or(.seconds(60))
    retentionTime = reader.setting(
      .retentionTime,
      allowed: "a time of day such as 03:30 (UTC) or 03:30+02:00"
    ) { TimeOfDay(configured: $0) }
    if retentionTime.value != nil, !CleanupSchedule.canKeepTime(retentionInterval.value) {
      reader.refuse(
        .retentionInterval,
        allowed: "with a retention_time, whole days or a part of one that fits: 12h, 8h, 6h, 1h"
      )
    }
    listenAddress = reader.setting(
      .listenAddress,
      allowed: "HOST:PORT, for example 127.0.0.1:\(ListenAddress.standard.port), 0.0.0.0:8080 or [::1]:8080"
    ) { ListenAddress(configured: $0) }.or(.standard)
    isDryRun = reader.bool(.isDryRun).or(false)
    storageClass = reader.choice(.storageClass).or(.database)
    schema = reader.text(.schema)
    refcounting = reader.choice(.refcounting)
    let model = reader.text(.model)
    let dsn = reader.text(.connectionString)
    blobStore = BlobStoreConfiguration(&reader, environment: environment)
    if let errors = reader.errors { throw errors }

    if case .file = model.origin, let path, let file = model.value {
      // The file may be read from anywhere; what it names lies beside it.
      let resolved = URL(filePath: file, relativeTo: URL(filePath: path).deletingLastPathComponent()).path
      modelFile = Setting(value: resolved, origin: model.origin)
    } else {
      modelFile = model
    }
    let url = environment[Self.urlVariable].flatMap { $0.isEmpty ? nil : $0 }
    switch (dsn.origin, url) {
    case (.default, let url?), (.file, let url?):
      secretConnectionString = Setting(value: Secret(url), origin: .environment(Self.urlVariable))
    default:
      secretConnectionString = Setting(value: dsn.value.map { Secret($0) }, origin: dsn.origin)
    }
  }

  /// Where the database is; what is not set is left to libpq and its PG* variables.
  ///
  /// - Throws: ``ConfigurationErrors`` when libpq cannot read the text, which is not repeated.
  public func connectionString() throws -> ConnectionString {
    do {
      return try ConnectionString(secretConnectionString.value?.text)
    } catch {
      let origin = secretConnectionString.origin
      throw ConfigurationErrors(
        mistakes: ["\(ConfigurationKey.connectionString.path) (\(origin)): \(error)"],
        concernsFlag: origin.isFlag
      )
    }
  }

  /// The model, checked: a mistake is refused before anything is changed.
  ///
  /// - Throws: `ModelErrors` with all mistakes; ``RunnerError`` when the file cannot be read.
  public func model() throws -> RetentionModel {
    var model = try modelFile.value.map { try ModelReader.read(yaml: Self.text(of: $0), file: $0) } ?? .jam
    model.schema = schema.value ?? model.schema
    model.refcounting = refcounting.value ?? model.refcounting
    let errors = model.validate()
    guard errors.isEmpty else { throw ModelErrors(errors) }
    return model
  }

  private static func text(of file: String) throws -> String {
    do {
      return try String(contentsOfFile: file, encoding: .utf8)
    } catch {
      throw RunnerError("the model \(file) cannot be read: \(error.localizedDescription)")
    }
  }
}

extension ConfigurationReader {
  mutating func bool(_ key: ConfigurationKey) -> Setting<Bool?> {
    setting(key, allowed: "true or false") { text in
      switch text.lowercased() {
      case "true", "yes", "on", "1": true
      case "false", "no", "off", "0": false
      default: nil
      }
    }
  }

  fileprivate mutating func choice<Value: RawRepresentable<String> & CaseIterable & Sendable>(
    _ key: ConfigurationKey
  ) -> Setting<Value?> {
    setting(key, allowed: Value.allCases.map(\.rawValue).joined(separator: " or ")) { Value(rawValue: $0) }
  }

  fileprivate mutating func duration(
    _ key: ConfigurationKey,
    from shortest: Int64,
    _ name: String
  ) -> Setting<Duration?> {
    setting(key, allowed: "\(name) to 365d, a whole number with s, m, h or d") { text in
      let limits = Duration.seconds(shortest)...Duration.seconds(365 * 86400)
      return Duration(configured: text).flatMap { limits.contains($0) ? $0 : nil }
    }
  }

  mutating func text(_ key: ConfigurationKey) -> Setting<String?> {
    setting(key, allowed: "a text that is not empty") { $0.isEmpty ? nil : $0 }
  }
}
