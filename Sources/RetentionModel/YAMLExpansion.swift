/// What a YAML text could grow to by its aliases: n of them can make it 3^(n/3) times as long, and the parser reads it all.
package enum YAMLExpansion {
  private static let maximumBytes = 100_000_000.0

  /// Why a text must not be read; nil: it cannot grow without bounds.
  package static func problem(of yaml: String) -> String? {
    var aliases = 0
    var previous = UInt8(ascii: "\n")
    var isPossible = false
    for byte in yaml.utf8 {
      // An asterisk in the place of an indicator; one inside a text may count too.
      if isPossible, !" \t\r\n*=)".utf8.contains(byte) { aliases += 1 }
      isPossible = byte == UInt8(ascii: "*") && " \t\r\n[]{},:?-".utf8.contains(previous)
      previous = byte
    }
    var expanded = Double(yaml.utf8.count)
    for _ in 0..<min(aliases / 3, 100) { expanded *= 3 }
    guard expanded > maximumBytes else { return nil }
    return "is too large: \(yaml.utf8.count) bytes and \(aliases) aliases could expand to more than 100 MB"
  }
}
