/// Where a value comes from.
public enum ConfigurationOrigin: Equatable, Sendable, CustomStringConvertible {
  case flag(String)
  case environment(String)
  /// A file with line and column, as `node.yaml:3:5`.
  case file(String)
  /// Nothing sets the key.
  case `default`

  /// Whether it is the command line.
  var isFlag: Bool { if case .flag = self { true } else { false } }

  /// `flag --schema`, `environment variable RUNTIME_JAM_SCHEMA`, `node.yaml:3:5` or `default`.
  public var description: String {
    switch self {
    case .flag(let name): "flag \(name)"
    case .environment(let name): "environment variable \(name)"
    case .file(let place): place
    case .default: "default"
    }
  }
}
