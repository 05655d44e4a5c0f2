import MigrationGenerator
import Postgres

extension Connection {
  /// Tells the session how often a cleanup is expected, which its health checks go by.
  public func expectCleanup(every interval: Duration) throws {
    _ = try query(
      "SELECT set_config($1, $2, false)",
      CleanupInterval.setting,
      "\(interval.components.seconds) s"
    )
  }
}
