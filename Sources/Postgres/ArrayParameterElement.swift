import SafeSQL

/// What an array can hold to be a parameter itself.
///
/// The element decides, because an array of bytes is a `bytea` and no array to PostgreSQL.
public protocol ArrayParameterElement {
  /// The whole array as the input function of its PostgreSQL type reads it.
  static func postgresText(of array: [Self]) -> String
}

extension Array: ParameterConvertible where Element: ArrayParameterElement {
  /// What the element makes of the array.
  public var postgresText: String { Element.postgresText(of: self) }
}

extension String: ArrayParameterElement {
  /// `text[]`: every element in quotes, so that none is taken for `NULL` or a delimiter.
  public static func postgresText(of array: [String]) -> String {
    let elements = array.map { "\"\($0.replacingScalars("\\", with: "\\\\").replacingScalars("\"", with: "\\\""))\"" }
    return "{\(elements.joined(separator: ","))}"
  }
}

extension Int: ArrayParameterElement {
  /// `bigint[]`.
  public static func postgresText(of array: [Int]) -> String {
    "{\(array.map(String.init).joined(separator: ","))}"
  }
}

extension UInt8: ArrayParameterElement {
  /// `bytea` in hexadecimal.
  public static func postgresText(of array: [UInt8]) -> String { hexadecimalBytea(array) }
}
