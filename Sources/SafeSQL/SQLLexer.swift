/// SQL text cut where it matters for the end of a statement, byte by byte as `psql` does it.
///
/// Source: PostgreSQL manual, section 4.1, Lexical Structure.
package enum SQLLexer {
  /// A stretch of the text.
  package struct Token {
    package enum Kind {
      case space, comment, quoted, semicolon, opening, closing, other
    }

    package var kind: Kind
    /// Where it stands in the text's UTF-8.
    package var range: Range<Int>
    /// Whether a quotation or a block comment has its end.
    package var isComplete = true
  }

  /// All tokens; together they are the whole text.
  package static func tokens(of text: [UInt8]) -> [Token] {
    var tokens: [Token] = []
    var position = 0
    while position < text.count {
      let token = token(in: text, at: position)
      tokens.append(token)
      position = token.range.upperBound
    }
    return tokens
  }

  /// Why the text is no single expression that can stand inside a statement, or nil.
  package static func mistake(inExpression expression: String) -> String? {
    var open: [UInt8] = []
    let text = Array(expression.utf8)
    if text.contains(0) { return "holds a NUL character" }
    for token in tokens(of: text) {
      guard token.isComplete else { return "has a quotation or a comment without an end" }
      switch token.kind {
      case .semicolon: return "holds a semicolon outside of quotes"
      case .comment where text[token.range.lowerBound] == UInt8(ascii: "-"):
        return "holds a comment that would take the rest of its line along"
      case .opening: open.append(text[token.range.lowerBound])
      case .closing:
        let opening = text[token.range.lowerBound] == UInt8(ascii: ")") ? UInt8(ascii: "(") : UInt8(ascii: "[")
        if open.popLast() != opening { return "has a closing parenthesis or bracket too many" }
      case .space, .comment, .quoted, .other: break
      }
    }
    return open.isEmpty ? nil : "has a parenthesis or a bracket without an end"
  }

  /// Whether there is nothing but space and comments.
  package static func isEmpty(_ text: String) -> Bool {
    tokens(of: Array(text.utf8)).allSatisfy { [.space, .comment].contains($0.kind) }
  }

  private static func token(in text: [UInt8], at start: Int) -> Token {
    let next = start + 1 < text.count ? text[start + 1] : 0
    func token(_ kind: Token.Kind, to end: Int?) -> Token {
      Token(kind: kind, range: start..<(end ?? text.count), isComplete: end != nil)
    }
    switch text[start] {
    case 9...13, 32: return token(.space, to: start + 1)
    case UInt8(ascii: ";"): return token(.semicolon, to: start + 1)
    case UInt8(ascii: "("), UInt8(ascii: "["): return token(.opening, to: start + 1)
    case UInt8(ascii: ")"), UInt8(ascii: "]"): return token(.closing, to: start + 1)
    case UInt8(ascii: "-") where next == UInt8(ascii: "-"):
      return token(.comment, to: text[start...].firstIndex { $0 == 10 || $0 == 13 } ?? text.count)
    case UInt8(ascii: "/") where next == UInt8(ascii: "*"):
      return token(.comment, to: endOfBlockComment(text, from: start))
    case UInt8(ascii: "'"), UInt8(ascii: "\""):
      return token(.quoted, to: endOfQuotation(text, from: start, backslashes: false))
    case UInt8(ascii: "e") where next == UInt8(ascii: "'"), UInt8(ascii: "E") where next == UInt8(ascii: "'"):
      return token(.quoted, to: endOfQuotation(text, from: start + 1, backslashes: true))
    case UInt8(ascii: "$"):
      guard let body = endOfDollarTag(text, from: start) else { return token(.other, to: start + 1) }
      return token(.quoted, to: end(of: text[start..<body], in: text, from: body))
    case let byte where isPartOfWord(byte): return token(.other, to: endOfWord(text, from: start))
    default: return token(.other, to: start + 1)
    }
  }

  private static func isPartOfWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), 128...:
      true
    case UInt8(ascii: "0")...UInt8(ascii: "9"): true
    default: false
    }
  }

  /// A `$` inside a word opens nothing.
  private static func endOfWord(_ text: [UInt8], from start: Int) -> Int {
    text[start...].firstIndex { !isPartOfWord($0) && $0 != UInt8(ascii: "$") } ?? text.count
  }

  /// Comments nest.
  private static func endOfBlockComment(_ text: [UInt8], from start: Int) -> Int? {
    var depth = 0
    var index = start
    while index + 1 < text.count {
      switch (text[index], text[index + 1]) {
      case (UInt8(ascii: "/"), UInt8(ascii: "*")):
        depth += 1
        index += 2
      case (UInt8(ascii: "*"), UInt8(ascii: "/")):
        depth -= 1
        index += 2
        if depth == 0 { return index }
      default: index += 1
      }
    }
    return nil
  }

  /// A doubled quote goes on.
  private static func endOfQuotation(_ text: [UInt8], from start: Int, backslashes: Bool) -> Int? {
    let quote = text[start]
    var index = start + 1
    while index < text.count {
      if backslashes, text[index] == UInt8(ascii: "\\") {
        index += 2
      } else if text[index] != quote {
        index += 1
      } else if index + 1 < text.count, text[index + 1] == quote {
        index += 2
      } else {
        return index + 1
      }
    }
    return nil
  }

  /// The end of the opening `$tag$`; a parameter such as `$1` is none.
  private static func endOfDollarTag(_ text: [UInt8], from start: Int) -> Int? {
    let end = text[(start + 1)...].firstIndex { !isPartOfWord($0) } ?? text.count
    guard end < text.count, text[end] == UInt8(ascii: "$") else { return nil }
    let first = text[start + 1]
    return (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) ? nil : end + 1
  }

  private static func end(of tag: ArraySlice<UInt8>, in text: [UInt8], from start: Int) -> Int? {
    var index = start
    while let candidate = text[index...].firstIndex(of: UInt8(ascii: "$")), candidate + tag.count <= text.count {
      if text[candidate..<candidate + tag.count].elementsEqual(tag) { return candidate + tag.count }
      index = candidate + 1
    }
    return nil
  }
}
