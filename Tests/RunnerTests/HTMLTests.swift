import SafeHTML
import Testing

@Suite struct HTMLTests {
  @Test("Text and numbers are escaped wherever they stand; markup stands as it is")
  func escapes() {
    let hostile = #"<script>alert("1" & '2')</script>"#
    let html: HTML = "<p title=\"\(hostile)\">\(hostile) \(7)</p>"
    let text = "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;"
    #expect(html.text == "<p title=\"\(text)\">\(text) 7</p>")
    let twice: HTML = "<div>\(html)</div>"
    #expect(twice.text == "<div>\(html.text)</div>")
    let raw: HTML = "\(raw: "<b>")"
    #expect(raw.text == "<b>")
    #expect(HTML.joined([html, "<br>"], separator: "\n").text == "\(html.text)\n<br>")
  }

  @Test(
    "What nobody sees and what turns text around is named; joiners, tabs and lines stay",
    arguments: [
      ("a\u{0}b", "a⟨U+0000⟩b"), ("\u{1B}[31m", "⟨U+001B⟩[31m"), ("\r\n", "⟨U+000D⟩\n"),
      ("\u{7F}\u{85}", "⟨U+007F⟩⟨U+0085⟩"),
      ("\u{202E}gpj.exe", "⟨U+202E⟩gpj.exe"), ("\u{2066}\u{200F}\u{61C}", "⟨U+2066⟩⟨U+200F⟩⟨U+061C⟩"),
      ("\u{2028}", "⟨U+2028⟩"), ("\u{FEFF}", "⟨U+FEFF⟩"), ("\u{FFFE}\u{1FFFF}", "⟨U+FFFE⟩⟨U+1FFFF⟩"),
      ("👩\u{200D}🔧\t\n", "👩\u{200D}🔧\t\n"), ("שלום ä 🧨", "שלום ä 🧨"), ("&#0; &lt;", "&amp;#0; &amp;lt;"),
      ("\u{301}<", "\u{301}&lt;"), ("<\u{301}", "&lt;\u{301}"),
    ]
  )
  func unseen(text: String, expected: String) {
    let html: HTML = "\(text)"
    #expect(html.text == expected)
  }
}
