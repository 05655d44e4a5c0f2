/// The name of an object's file: the key, with everything percent-encoded that could mean anything to a file system.
struct FileName {
  /// What a name may have at most, less the suffix of an upload.
  private static let longest = 255 - 33
  private static let separator: Character = "~"

  let key: String
  let text: String

  init(_ key: String, doing operation: String) throws {
    try ObjectKey.check(key, doing: operation)
    self.key = key
    text = PercentEncoding.encode(key) { byte, index in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
        true
      default: byte == UInt8(ascii: ".") && index > 0
      }
    }
    guard text.utf8.count <= Self.longest else {
      throw ObjectStoreError(
        .invalidKey,
        doing: operation,
        "the key is too long for the name of a file: \(text.utf8.count) bytes, \(Self.longest) is the most"
      )
    }
  }

  /// The key of a file in the store, nil when the file is none of the store's.
  init?(stored text: String) {
    guard let key = PercentEncoding.decode(text), let name = try? FileName(key, doing: "list"), name.text == text else {
      return nil
    }
    self = name
  }

  /// The key of an unfinished upload.
  init?(upload entry: String) {
    guard let end = entry.lastIndex(of: Self.separator) else { return nil }
    self.init(stored: String(entry[..<end]))
  }

  /// The name of the file while it is written.
  func upload(_ identifier: String) -> String {
    "\(text)\(Self.separator)\(identifier)"
  }
}
