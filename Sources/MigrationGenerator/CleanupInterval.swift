/// How often a cleanup is expected, which a session can be told.
public enum CleanupInterval {
  /// The setting of the server that holds an interval; a day where it is not set. `ALTER DATABASE … SET` sets it for everybody.
  public static let setting = "jam_retention.cleanup_interval"
}
