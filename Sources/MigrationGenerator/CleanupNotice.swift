/// The SQLSTATEs of the messages by which a cleanup tells how far it is, at level DEBUG; each has a JSON object as its detail.
public enum CleanupNotice {
  /// A run has its record: `run_id`.
  public static let begin = "JAM01"
  /// A batch is done: `run_id`, `data_class`, `deleted`, `busy`.
  public static let batch = "JAM02"
}
