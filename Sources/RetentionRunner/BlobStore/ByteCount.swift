import Foundation

/// Bytes for people: `1.5 MB`.
public enum ByteCount {
  /// The decimal units, each a thousand of the one before.
  static let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]

  /// Three significant digits and a decimal unit.
  public static func text(_ bytes: Int64) -> String {
    var value = Double(bytes)
    var units = units[...]
    while abs(value) >= 999.5, units.count > 1 {
      value /= 1000
      units = units.dropFirst()
    }
    let digits = units.first == "B" || abs(value) >= 99.95 ? 0 : abs(value) >= 9.995 ? 1 : 2
    return "\(String(format: "%.\(digits)f", value)) \(units.first ?? "")"
  }
}
