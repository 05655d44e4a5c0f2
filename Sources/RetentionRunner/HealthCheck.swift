/// One thing that was looked at, and what to do when it is not as it should be.
public struct HealthCheck: Equatable, Sendable {
  /// What was looked at.
  public var name: String
  /// Whether it is as it should be.
  public var isHealthy: Bool
  /// What was found.
  public var detail: String
  /// What to do when it is not healthy.
  public var remedy: String

  /// Creates a check from its outcome.
  public init(name: String, isHealthy: Bool, detail: String, remedy: String) {
    self.name = name
    self.isHealthy = isHealthy
    self.detail = detail
    self.remedy = remedy
  }
}
