import Foundation

/// A value that can stand for `$1` in a statement.
public protocol ParameterConvertible {
  /// The value as the input function of its PostgreSQL type reads it.
  var postgresText: String { get }
}

extension String: ParameterConvertible {
  /// The text itself.
  public var postgresText: String { self }
}

extension Bool: ParameterConvertible {
  /// `t` or `f`.
  public var postgresText: String { self ? "t" : "f" }
}

extension Double: ParameterConvertible {
  /// The shortest digits that give the same number back.
  public var postgresText: String { description }
}

extension FixedWidthInteger where Self: ParameterConvertible {
  /// The decimal digits.
  public var postgresText: String { String(self) }
}

extension Int: ParameterConvertible {}
extension Int8: ParameterConvertible {}
extension Int16: ParameterConvertible {}
extension Int32: ParameterConvertible {}
extension Int64: ParameterConvertible {}
extension UInt: ParameterConvertible {}
extension UInt8: ParameterConvertible {}
extension UInt16: ParameterConvertible {}
extension UInt32: ParameterConvertible {}
extension UInt64: ParameterConvertible {}

extension Data: ParameterConvertible {
  /// `bytea` in hexadecimal.
  public var postgresText: String { hexadecimalBytea(self) }
}

/// `bytea` in the format that begins with `\x`.
func hexadecimalBytea(_ bytes: some Collection<UInt8>) -> String {
  let digits = Array("0123456789abcdef".utf8)
  var text: [UInt8] = Array("\\x".utf8)
  text.reserveCapacity(2 + 2 * bytes.count)
  for byte in bytes {
    text.append(digits[Int(byte >> 4)])
    text.append(digits[Int(byte & 15)])
  }
  return String(decoding: text, as: UTF8.self)
}
