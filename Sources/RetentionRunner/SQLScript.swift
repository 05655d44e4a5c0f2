import SafeSQL

/// A script cut into its statements, as `psql` cuts it: a semicolon inside quotes, dollar quotes, parentheses or comments
/// ends nothing.
///
/// Only files with `transaction: none` need it: the server takes several statements at once as one transaction.
enum SQLScript {
  /// The statements, without those that hold nothing but comments.
  static func statements(of script: String) -> [String] {
    let text = Array(script.utf8)
    var statements: [String] = []
    var start = 0
    var depth = 0
    var holdsCode = false

    func finish(at end: Int) {
      if holdsCode { statements.append(String(decoding: text[start..<end], as: UTF8.self)) }
      start = end
      depth = 0
      holdsCode = false
    }

    for token in SQLLexer.tokens(of: text) {
      switch token.kind {
      case .space, .comment: continue
      case .semicolon where depth == 0:
        finish(at: token.range.upperBound)
        continue
      case .opening: depth += 1
      case .closing: depth = max(0, depth - 1)
      case .quoted, .semicolon, .other: break
      }
      holdsCode = true
    }
    finish(at: text.count)
    return statements
  }
}
