/// Names that a careless generator of SQL would trip over.
enum HostileName {
  private static let pieces: [String] = [
    "\"", "\"\"", "'", "''", "\\", "\\\\", "`", "$", "$$", "$jam$", "$jam2$", "$jam", "jam$", "$1", ";", "--", "/*",
    "*/",
    "\n", "\r", "\r\n", "\t", "\u{1}", "\u{7f}", "\u{85}", "\u{2028}", "\nBEGIN;\n", "\nCOMMIT;\n", "\n\\q\n",
    "\\! true",
    ":x", ":'x'", ":\"x\"", "%", "%s", "%I", "%1$s", "%%", ".", ".*", "^", "[a-", "(", ")", "{", "}", "|", "?", "+",
    "\u{301}", "\u{338}", "\u{200d}", "\u{fe0f}", "\u{202e}", "\u{200f}", "\u{feff}", "\u{600}", "\u{5d0}\u{5d1}",
    "\u{1100}\u{1161}", "é", "e\u{301}", "ß", "İ", "ﬁ", "日", "👩‍👩‍👧", "🇩🇪", "\u{10ffff}", "\u{ffff}", " ", "  ", ",", "=",
    "@",
    "#", "&", "<", ">", "a", "B", "z9", "0", "1e5", "_", "E", "U&", "x'", "ON", "drop table",
  ]

  /// Words with a meaning in SQL, in plpgsql or in the generated functions.
  private static let words = [
    "select", "table", "user", "null", "order", "group", "all", "new", "old", "default", "primary", "current_user",
    "tg_op", "found", "sqlstate", "array", "between", "hash", "delta", "cutoff", "dry_run", "status", "gained", "lost",
    "r", "l", "e", "x", "b", "w", "d", "run", "batch", "doomed", "expired", "after_time", "after_key", "batch_size",
    "run_id", "outcome", "failure", "protected", "policy", "changes", "figures", "stored_bytes", "refcount", "pending",
    "bytes", "content", "table_name", "column_name", "row_id", "key", "data_class", "rows", "limit_bytes", "held",
    "bucket", "settings", "information_schema", "public", "pg_catalog.now", "2fast", "true", "SELECT", "Id",
  ]

  /// Names that PostgreSQL would not keep as they are, or that it keeps for itself.
  static let refused = [
    "", "a\u{0}b", String(repeating: "n", count: 64), String(repeating: "ü", count: 32),
    String(repeating: "日", count: 21) + "!", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid",
  ]

  static func random(maximumBytes: Int = 63, using random: inout SeededGenerator) -> String {
    switch Int.random(in: 0..<10, using: &random) {
    case 0: return words.randomElement(using: &random) ?? ""
    case 1:
      // Up to the last byte, with characters of several bytes at the end.
      var name = ""
      while let piece = pieces.randomElement(using: &random), name.utf8.count + piece.utf8.count <= maximumBytes {
        name += piece
      }
      return name + String(repeating: "f", count: maximumBytes - name.utf8.count)
    default:
      let count = Int.random(in: 1...6, using: &random)
      var name = ""
      for _ in 0..<count {
        let piece = (Int.random(in: 0..<4, using: &random) == 0 ? words : pieces).randomElement(using: &random) ?? ""
        if name.utf8.count + piece.utf8.count <= maximumBytes { name += piece }
      }
      return name.isEmpty ? "n" : name
    }
  }
}
