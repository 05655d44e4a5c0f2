/// A value of the configuration and where it comes from.
public struct Setting<Value: Sendable>: Sendable {
  /// The value that counts.
  public let value: Value
  /// The source that goes before all others that set the key.
  public let origin: ConfigurationOrigin

  /// Whether anything sets the key.
  public var isSet: Bool { origin != .default }

  /// The value, or this one where nothing sets the key.
  func or<Wrapped>(_ value: Wrapped) -> Setting<Wrapped> where Value == Wrapped? {
    Setting<Wrapped>(value: self.value ?? value, origin: origin)
  }
}
