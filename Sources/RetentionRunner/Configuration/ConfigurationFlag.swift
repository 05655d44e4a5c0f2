/// A flag of the command line that stands for a key of the configuration.
public struct ConfigurationFlag: Sendable {
  let key: ConfigurationKey
  let name: String
  let value: String?

  /// - Parameters:
  ///   - key: what it sets.
  ///   - name: as the user writes it, such as `--schema`.
  ///   - value: nil: the flag was not given.
  public init(_ key: ConfigurationKey, _ name: String, _ value: String?) {
    self.key = key
    self.name = name
    self.value = value
  }
}
