/// A valid model in YAML with a few random damages.
struct DamagedModel {
  private static let whole = """
    schema: archive
    prefix: doc_
    refcounting: deferred
    tables:
      - name: files
        columns:
          - {name: hash, type: text}
          - {name: size, type: bigint}
          - {name: media_type, type: text, default: "''"}
          - {name: data, type: bytea, nullable: true}
          - {name: created_at, type: timestamptz, default: now()}
          - {name: storage_class, type: text, default: "''"}
          - {name: refcount, type: bigint, default: "0"}
        primary_key: [hash]
      - name: letters
        columns:
          - {name: id, type: uuid}
          - {name: state, type: text}
          - {name: body, type: "character varying", nullable: true}
          - {name: raw, type: bytea, nullable: true}
          - {name: enclosures, type: "text[]", default: "'{}'"}
          - {name: created_at, type: timestamptz, default: now()}
        primary_key: [id]
      - name: pages
        columns:
          - {name: id, type: uuid}
          - {name: letter_id, type: uuid}
          - {name: image, type: text}
          - {name: note, type: text, nullable: true}
        primary_key: [id]
        foreign_keys:
          - {columns: [letter_id], parent: letters, parent_columns: [id], on_delete: cascade}
    blobs: {table: files, plural: files, singular: file, key: hash}
    references:
      - {table: letters, array: enclosures}
      - {table: letters, scan: raw}
      - {table: pages, scalar: image}
      - {table: pages, expression: lower(note), columns: [note]}
    classes:
      - {name: letters, table: letters, timestamp: created_at, status: state, parts: [{name: pages, table: pages}]}

    """

  private static let words = [
    "files", "letters", "pages", "hash", "id", "note", "created_at", "text", "bytea", "bigint", "uuid", "text[]",
    "true",
    "null", "~", "0x1F", "1e9", "2001-01-01", "doc_reference_ledger", "lower(note", "a -- b", "x;y", "'", "''", "\"",
    "$$",
  ]

  private static let marks = [
    "\u{0}", "\u{feff}", "\t", "\r", "\r\n", "\u{85}", "\u{2028}", "\u{301}", "\u{200d}", "\u{202e}", "\u{ffff}", "👩‍👩‍👧",
    "&a ",
    "*a ", "? ", ": ", "- ", "---\n", "...\n", "!!int ", "!<x> ", "|\n", ">\n", "%YAML 1.2\n", "#", "{", "}", "[", "]",
    ",",
    "<<: ", "@", "`", "'", "\"", "\\x", "\u{7f}", "\u{1b}",
  ]

  private(set) var yaml = whole
  private var random: SeededGenerator

  init(seed: UInt64) {
    random = SeededGenerator(seed: seed)
    for _ in 0..<[1, 1, 2, 3][number(0, 3)] { damage() }
  }

  private mutating func number(_ low: Int, _ high: Int) -> Int { Int.random(in: low...high, using: &random) }

  private mutating func damage() {
    switch number(0, 19) {
    case 0...4: damageBytes()
    case 5...8: damageLines()
    case 9...13: replaceWord()
    case 14...17: insert(Self.marks.randomElement(using: &random) ?? "")
    case 18: insert(bomb())
    default: huge()
    }
  }

  private mutating func damageBytes() {
    var bytes = Array(yaml.utf8)
    for _ in 0..<number(1, 4) where !bytes.isEmpty {
      let index = number(0, bytes.count - 1)
      switch number(0, 3) {
      case 0: bytes[index] ^= 1 << UInt8(number(0, 7))
      case 1: bytes[index] = UInt8(number(0, 255))
      case 2: bytes.remove(at: index)
      default: bytes.insert(UInt8(number(0, 127)), at: index)
      }
    }
    yaml = String(decoding: bytes, as: UTF8.self)
  }

  private mutating func damageLines() {
    var lines = yaml.split(separator: "\n", omittingEmptySubsequences: false)
    let one = number(0, lines.count - 1)
    let other = number(0, lines.count - 1)
    switch number(0, 4) {
    case 0: lines.remove(at: one)
    case 1: lines.insert(lines[one], at: other)
    case 2: lines.swapAt(one, other)
    case 3: lines[one] = "  " + lines[one]
    default: lines = Array(lines.prefix(one))
    }
    yaml = lines.joined(separator: "\n")
  }

  /// Puts a word in the place of another: the damage that most often still is a model.
  private mutating func replaceWord() {
    let bytes = Array(yaml.utf8)
    let isWord = { (byte: UInt8) in !" \n:,[]{}\"".utf8.contains(byte) }
    guard
      let start = bytes.indices.filter({ isWord(bytes[$0]) && ($0 == 0 || !isWord(bytes[$0 - 1])) })
        .randomElement(using: &random)
    else { return }
    let end = bytes[start...].firstIndex { !isWord($0) } ?? bytes.count
    let known = Self.words.randomElement(using: &random) ?? ""
    let word =
      Bool.random(using: &random)
      ? known
      : "\"\(HostileName.random(using: &random).unicodeScalars.map { "\\U\(hexadecimal($0.value))" }.joined())\""
    // A name that changes wherever it stands still is a name.
    yaml =
      Bool.random(using: &random)
      ? yaml.replacing(String(decoding: bytes[start..<end], as: UTF8.self), with: word)
      : String(decoding: bytes[..<start] + Array(word.utf8) + bytes[end...], as: UTF8.self)
  }

  private func hexadecimal(_ value: UInt32) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }

  private mutating func insert(_ text: String) {
    var scalars = yaml.unicodeScalars
    let offset = number(0, scalars.count)
    scalars.insert(contentsOf: text.unicodeScalars, at: scalars.index(scalars.startIndex, offsetBy: offset))
    yaml = String(scalars)
  }

  /// What makes a parser that is not careful eat all memory or the stack.
  private mutating func bomb() -> String {
    let depth = [3, 12, 40, 900, 5000].randomElement(using: &random) ?? 0
    switch number(0, 3) {
    case 0:
      return String(repeating: "[", count: depth)
        + (Bool.random(using: &random) ? String(repeating: "]", count: depth) : "")
    case 1: return "\n" + (0..<min(depth, 300)).map { String(repeating: " ", count: $0) + "a:\n" }.joined()
    default:
      // Aliases of aliases, as a value or as a key, whose hash the parser asks for.
      let width = number(2, 9)
      let levels = min(depth, 40)
      let lines = (1..<max(2, levels)).map { level in
        "l\(level): &l\(level) [" + Array(repeating: "*l\(level - 1)", count: width).joined(separator: ", ") + "]\n"
      }
      return "\nl0: &l0 [x, y]\n\(lines.joined())"
        + (Bool.random(using: &random) ? "? *l\(max(2, levels) - 1)\n: x\n" : "tables: *l\(max(2, levels) - 1)\n")
    }
  }

  private mutating func huge() {
    let size = [1000, 20_000, 300_000].randomElement(using: &random) ?? 0
    let text = ["x", "é", "[", "a: ", "- ", "\n", "\"", "{a: "].randomElement(using: &random) ?? ""
    insert(String(repeating: text, count: size / text.utf8.count))
  }
}
