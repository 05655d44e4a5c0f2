import Logging

/// A column of the policy row that gets another value.
public struct PolicyChange: Equatable, Sendable {
  /// The column.
  public let column: String
  /// The value until now; nil: NULL, or there is no policy row yet.
  public let old: String?
  /// The value from now on; nil: NULL.
  public let new: String?
  /// What of the configuration sets it; nil: somebody at the keyboard.
  public let origin: ConfigurationOrigin?

  var metadata: Logger.Metadata {
    var metadata: Logger.Metadata = ["column": "\(column)", "old": "\(old ?? "NULL")", "new": "\(new ?? "NULL")"]
    metadata["source"] = origin.map { "\($0)" }
    return metadata
  }
}
