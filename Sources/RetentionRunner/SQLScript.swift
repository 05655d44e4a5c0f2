/// A script cut into its statements, as `psql` cuts it: a semicolon inside quotes, dollar quotes, parentheses or comments
/// ends nothing.
///
/// Only files with `transaction: none` need it: the server takes several statements at once as one transaction.
enum SQLScript {
  /// The statements, without those that hold nothing but comments.
  static func statements(of text: String) -> [String] {
    let characters = Array(text)
    var statements: [String] = []
    var start = 0
    var position = 0
    var holdsCode = false

    func end(of terminator: String, from index: Int) -> Int {
      let wanted = Array(terminator)
      var index = index
      while index + wanted.count <= characters.count {
        if Array(characters[index..<index + wanted.count]) == wanted { return index + wanted.count }
        index += 1
      }
      return characters.count
    }

    while position < characters.count {
      let character = characters[position]
      let next = position + 1 < characters.count ? characters[position + 1] : nil
      switch character {
      case "-" where next == "-":
        position = end(of: "\n", from: position)
      case "/" where next == "*":
        position = endOfBlockComment(characters, from: position)
      case "'":
        let isEscape = position > start && "eE".contains(characters[position - 1])
        position = endOfString(characters, from: position, backslashes: isEscape)
        holdsCode = true
      case "\"":
        position = end(of: "\"", from: position + 1)
        holdsCode = true
      case "$":
        holdsCode = true
        if let tag = dollarTag(characters, at: position) {
          position = end(of: tag, from: position + tag.count)
        } else {
          position += 1
        }
      case ";":
        if holdsCode { statements.append(String(characters[start...position])) }
        position += 1
        start = position
        holdsCode = false
      default:
        holdsCode = holdsCode || !character.isWhitespace
        position += 1
      }
    }
    if holdsCode { statements.append(String(characters[start...])) }
    return statements
  }

  private static func endOfBlockComment(_ characters: [Character], from start: Int) -> Int {
    var depth = 0
    var index = start
    while index + 1 < characters.count {
      if characters[index] == "/", characters[index + 1] == "*" {
        depth += 1
        index += 2
      } else if characters[index] == "*", characters[index + 1] == "/" {
        depth -= 1
        index += 2
        if depth == 0 { return index }
      } else {
        index += 1
      }
    }
    return characters.count
  }

  private static func endOfString(_ characters: [Character], from start: Int, backslashes: Bool) -> Int {
    var index = start + 1
    while index < characters.count {
      if backslashes, characters[index] == "\\" {
        index += 2
      } else if characters[index] == "'" {
        return index + 1
      } else {
        index += 1
      }
    }
    return characters.count
  }

  /// The opening `$tag$` at this place; a `$` inside a name or a parameter such as `$1` opens nothing.
  private static func dollarTag(_ characters: [Character], at start: Int) -> String? {
    if start > 0, characters[start - 1].isLetter || characters[start - 1].isNumber || characters[start - 1] == "_" {
      return nil
    }
    var index = start + 1
    while index < characters.count, characters[index].isLetter || characters[index].isNumber || characters[index] == "_"
    {
      index += 1
    }
    guard index < characters.count, characters[index] == "$" else { return nil }
    if index > start + 1, characters[start + 1].isNumber { return nil }
    return String(characters[start...index])
  }
}
