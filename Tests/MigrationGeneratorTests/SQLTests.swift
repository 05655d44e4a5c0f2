import SafeSQL
import Testing

@Suite struct SQLTests {
  @Test("Names and values are quoted by what they are")
  func quotes() {
    let name = Identifier(#"a"b; DROP"#)
    let sql: SQL = "SELECT \(name), \(literal: #"it's \ "#)"
    #expect(sql.text == #"SELECT "a""b; DROP", E'it''s \\ '"#)
  }

  @Test("A mark that joins the quote before it hides no quote", arguments: ["\u{301}", "\u{200d}", "\u{fe0f}"])
  func quotesWithMarks(mark: String) {
    let sql: SQL = "\(Identifier("a\"\(mark)b")) \(literal: "'\(mark)\\\(mark)") /* \(comment: "*/\(mark)") */"
    let expected = "\"a\"\"\(mark)b\" E'''\(mark)\\\\\(mark)' /* * /\(mark) */"
    #expect(Array(sql.text.utf8) == Array(expected.utf8))
    let body: SQL = "\(raw: "$jam$\(mark)")"
    #expect(body.dollarQuoted().text.hasPrefix("$jam2$"))
  }

  @Test("A fragment of several lines takes over the indentation of its line, quoted text does not")
  func indents() {
    let inner: SQL = "a\n\(literal: "x\ny")\nb"
    let sql: SQL = "BEGIN\n  \(inner)\nEND"
    #expect(sql.text == "BEGIN\n  a\n  'x\ny'\n  b\nEND")
    let within: SQL = "BEGIN\n  \(literal: "c") \(inner)\nEND"
    #expect(within.text == "BEGIN\n  'c' a\n  'x\ny'\n  b\nEND")
  }

  @Test("No body can break out of its dollar quotes", arguments: ["$jam$", "$jam$ $jam2$", "x$jam"])
  func dollarTags(body: String) {
    let sql: SQL = "\(raw: body)"
    let quoted = sql.dollarQuoted().text
    let tag = String(quoted.prefix { $0 != "\n" })
    #expect(!body.contains(tag) && quoted.hasSuffix("\n" + tag))
  }

  @Test("A comment stays on its line and inside its comment")
  func comments() {
    let sql: SQL = "-- \(comment: "a\nDROP */")"
    #expect(!sql.text.contains("\n") && !sql.text.contains("*/"))
  }

  @Test("Long names keep their suffix, stay within 63 bytes and stay apart")
  func longNames() {
    let base = String(repeating: "ü", count: 40)
    let one = Identifier(base: base + "1", suffix: "_idx")
    let two = Identifier(base: base + "2", suffix: "_idx")
    #expect(one.name.utf8.count <= 63 && one.name.hasSuffix("_idx") && one != two)
  }
}
