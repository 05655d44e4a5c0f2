/// Reads the XML that S3 stores answer with, and nothing beyond that: a document type, and so an entity of its own, is
/// refused, as is what is not well-formed, too deep, or cut off.
///
/// Unlike in XML 1.0, a reference may name a control character: stores put those of keys into their listings.
struct XMLReader {
  struct Failure: Error {
    let message: String
  }

  private static let deepest = 16

  private var rest: ArraySlice<UInt8>

  static func read(_ bytes: [UInt8]) throws -> XMLElement {
    guard String(validating: bytes, as: UTF8.self) != nil else { throw Failure(message: "it is not UTF-8") }
    var reader = XMLReader(rest: bytes[...])
    reader.skip(prefix: [0xEF, 0xBB, 0xBF])
    try reader.skipMiscellaneous()
    guard reader.rest.first == UInt8(ascii: "<") else { throw Failure(message: "there is no element") }
    let root = try reader.element(depth: 0)
    try reader.skipMiscellaneous()
    guard reader.rest.isEmpty else { throw Failure(message: "something follows its element") }
    return root
  }

  private mutating func element(depth: Int) throws -> XMLElement {
    guard depth < Self.deepest else { throw Failure(message: "its elements are nested too deep") }
    try expect("<")
    let qualified = try name()
    var element = XMLElement(name: qualified.split(separator: ":").last.map(String.init) ?? qualified)
    while true {
      let hadSpace = skipSpace()
      if skip(prefix: "/>".utf8) { return element }
      if skip(prefix: ">".utf8) { break }
      guard hadSpace else { throw Failure(message: "the tag of \(qualified) is broken") }
      try attribute()
    }
    var text: [UInt8] = []
    while let byte = rest.first {
      if skip(prefix: "</".utf8) {
        guard try name() == qualified else { throw Failure(message: "the end of \(qualified) is missing") }
        skipSpace()
        try expect(">")
        element.text = String(decoding: text, as: UTF8.self)
        return element
      } else if skip(prefix: "<!--".utf8) {
        _ = try upTo("-->")
      } else if skip(prefix: "<![CDATA[".utf8) {
        text += try upTo("]]>")
      } else if skip(prefix: "<?".utf8) {
        _ = try upTo("?>")
      } else if byte == UInt8(ascii: "<") {
        element.children.append(try self.element(depth: depth + 1))
      } else if byte == UInt8(ascii: "&") {
        text += try reference()
      } else {
        text.append(byte)
        rest.removeFirst()
      }
    }
    throw Failure(message: "it ends within \(qualified)")
  }

  private mutating func attribute() throws {
    _ = try name()
    skipSpace()
    try expect("=")
    skipSpace()
    guard let quote = rest.popFirst(), quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else {
      throw Failure(message: "an attribute has no quotes")
    }
    while let byte = rest.first, byte != quote {
      guard byte != UInt8(ascii: "<") else { throw Failure(message: "an attribute contains a tag") }
      if byte == UInt8(ascii: "&") {
        _ = try reference()
      } else {
        rest.removeFirst()
      }
    }
    guard rest.popFirst() == quote else { throw Failure(message: "it ends within an attribute") }
  }

  private mutating func reference() throws -> [UInt8] {
    rest.removeFirst()
    // The longest is that of the last code point, `&#1114111;`.
    guard let end = rest.prefix(10).firstIndex(of: UInt8(ascii: ";")) else {
      throw Failure(message: "a reference has no end")
    }
    let name = String(decoding: rest[..<end], as: UTF8.self)
    rest = rest[(end + 1)...]
    switch name {
    case "amp": return Array("&".utf8)
    case "lt": return Array("<".utf8)
    case "gt": return Array(">".utf8)
    case "quot": return Array("\"".utf8)
    case "apos": return Array("'".utf8)
    default:
      let isHexadecimal = name.hasPrefix("#x")
      let digits = name.dropFirst(isHexadecimal ? 2 : 1)
      guard name.hasPrefix("#"), digits.allSatisfy(\.isHexDigit),
        let number = UInt32(digits, radix: isHexadecimal ? 16 : 10), number > 0, let scalar = Unicode.Scalar(number)
      else { throw Failure(message: "a reference names no character") }
      return Array(String(Character(scalar)).utf8)
    }
  }

  private mutating func name() throws -> String {
    let bytes = rest.prefix {
      switch $0 {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: ":"):
        true
      default: false
      }
    }
    guard !bytes.isEmpty else { throw Failure(message: "a name is missing") }
    rest = rest[bytes.endIndex...]
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Space, comments and processing instructions around the root.
  private mutating func skipMiscellaneous() throws {
    while true {
      skipSpace()
      if skip(prefix: "<!--".utf8) {
        _ = try upTo("-->")
      } else if skip(prefix: "<?".utf8) {
        _ = try upTo("?>")
      } else if rest.starts(with: "<!".utf8) {
        throw Failure(message: "it has a document type, which no S3 store sends")
      } else {
        return
      }
    }
  }

  private mutating func upTo(_ end: String) throws -> ArraySlice<UInt8> {
    let pattern = Array(end.utf8)
    var index = rest.startIndex
    while index + pattern.count <= rest.endIndex {
      if rest[index..<(index + pattern.count)].elementsEqual(pattern) {
        defer { rest = rest[(index + pattern.count)...] }
        return rest[..<index]
      }
      index += 1
    }
    throw Failure(message: "it ends before \(end)")
  }

  @discardableResult
  private mutating func skipSpace() -> Bool {
    let space = rest.prefix { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
    rest = rest[space.endIndex...]
    return !space.isEmpty
  }

  @discardableResult
  private mutating func skip(prefix: some Sequence<UInt8>) -> Bool {
    let prefix = Array(prefix)
    guard rest.starts(with: prefix) else { return false }
    rest = rest.dropFirst(prefix.count)
    return true
  }

  private mutating func expect(_ text: String) throws {
    guard skip(prefix: text.utf8) else { throw Failure(message: "\(text) is missing") }
  }
}
