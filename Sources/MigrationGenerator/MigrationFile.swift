/// One generated file, as it stands below `sql/`.
public struct MigrationFile: Equatable, Sendable {
  /// The path below `sql/`, for example `010_tables.sql`.
  public let path: String
  /// The whole text, with a newline at the end.
  public let text: String

  /// Creates a file from its finished text.
  public init(path: String, text: String) {
    self.path = path
    self.text = text
  }
}
