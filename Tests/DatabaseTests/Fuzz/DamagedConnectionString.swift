/// A connection string with a password in it: whole, or with a few random damages.
struct DamagedConnectionString {
  private(set) var text: String
  /// The part of the password that no encoding changes.
  let core: String
  let isDamaged: Bool
  private var random: SeededGenerator

  private static let marks = [
    "@", ":", "/", "?", "#", "%", "%zz", "%00", "%ff", "%40", "&", "=", " ", "'", "\"", "\\", "\n", "\t", "\u{0}",
    "\u{301}",
    "\u{200d}", "\u{fe0f}", "é", "👩‍👩‍👧", "[", "]", "[::1", "password=", "sslpassword=", "host=", "port=", "postgresql://",
    ",", "\u{85}",
  ]

  init(seed: UInt64) {
    random = SeededGenerator(seed: seed)
    let number = Int.random(in: 10_000...99_999, using: &random)
    core = "hunter\(number)"
    var password = core
    for _ in 0..<Int.random(in: 0...2, using: &random) {
      let mark = Self.marks.randomElement(using: &random) ?? ""
      // No text can hold it, so no password does.
      if mark != "\u{0}" { password = Bool.random(using: &random) ? mark + password : password + mark }
    }
    let quoted = "'\(Self.escaped(password))'"
    let encoded = password.utf8.map { byte in
      let digits = String(byte, radix: 16)
      return byte < 128 && Character(Unicode.Scalar(byte)).isLetter || (48...57).contains(byte)
        ? String(Unicode.Scalar(byte)) : "%" + (digits.count == 1 ? "0" : "") + digits
    }.joined()
    let options = ["", "?sslmode=disable", "?application_name=a%20b&connect_timeout=3", "?sslpassword=\(encoded)"]
    text =
      switch Int.random(in: 0..<6, using: &random) {
      case 0: "postgresql://jam:\(encoded)@127.0.0.1:1/db\(options.randomElement(using: &random) ?? "")"
      case 1: "postgres://jam@127.0.0.1:1/db?password=\(encoded)"
      case 2: "postgresql://jam:\(encoded)@[::1]:1,127.0.0.1:2/db"
      case 3: "host=127.0.0.1 port=1 user=jam password=\(quoted)"
      case 4: "host=127.0.0.1 port = 1 password = \(quoted) dbname='a b' sslpassword=\(quoted)"
      default: "password=\(quoted) user='it\\'s' host=127.0.0.1 port=1"
      }
    isDamaged = Int.random(in: 0..<4, using: &random) > 0
    if isDamaged { for _ in 0..<Int.random(in: 1...3, using: &random) { damage() } }
  }

  /// Inside single quotes. By scalars: a mark after a quote hides it from `replacing`.
  private static func escaped(_ value: String) -> String {
    value.unicodeScalars.map { $0 == "'" || $0 == "\\" ? "\\\($0)" : "\($0)" }.joined()
  }

  private mutating func damage() {
    var scalars = Array(text.unicodeScalars)
    guard !scalars.isEmpty else { return }
    let index = Int.random(in: 0..<scalars.count, using: &random)
    switch Int.random(in: 0..<6, using: &random) {
    case 0: scalars.remove(at: index)
    case 1, 2: scalars.insert(contentsOf: (Self.marks.randomElement(using: &random) ?? "").unicodeScalars, at: index)
    case 3: scalars[index] = Unicode.Scalar(UInt8.random(in: 0..<128, using: &random))
    case 4:
      let end = min(scalars.count, index + Int.random(in: 1...8, using: &random))
      scalars.replaceSubrange(index..<end, with: scalars[index..<end] + scalars[index..<end])
    default:
      let end = min(scalars.count, index + Int.random(in: 1...8, using: &random))
      scalars.removeSubrange(index..<end)
    }
    text = String(String.UnicodeScalarView(scalars))
  }
}
