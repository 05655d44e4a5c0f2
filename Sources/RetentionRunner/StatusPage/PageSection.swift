import SafeHTML

/// A section of the page.
protocol PageSection {
  /// Its anchor.
  static var id: String { get }
  static var title: String { get }

  var report: StatusReport { get }
  var content: HTML { get }
}

extension PageSection {
  var html: HTML {
    """
    <section aria-labelledby="\(Self.id)">
    <h2 id="\(Self.id)">\(Self.title)</h2>
    \(content)</section>

    """
  }

  /// What is made of an answer, or why there is none.
  ///
  /// - Parameters:
  ///   - question: how to ask by hand.
  ///   - subject: begins the sentence.
  func answered<Value>(
    _ answer: StatusReport.Answer<Value>,
    orElse question: String,
    subject: String = "This",
    _ content: (Value) -> HTML
  ) -> HTML {
    switch answer {
    case .found(let value): content(value)
    case .tookTooLong:
      "<p class=\"gap\">\(subject) took too long to find out and was given up. To wait for it: <code>\(question)</code></p>\n"
    case .failed(let reason):
      "<p class=\"gap\">\(subject) could not be found out: \(reason). To ask by hand: <code>\(question)</code></p>\n"
    }
  }

  /// Nothing, or why there is no answer.
  func gap<Value>(_ answer: StatusReport.Answer<Value>, orElse question: String, subject: String = "This") -> HTML {
    answered(answer, orElse: question, subject: subject) { _ in "" }
  }

  /// Names with what they stand for.
  func facts(_ facts: [(name: HTML, value: HTML)]) -> HTML {
    """
    <dl class="facts">
    \(HTML.joined(facts.map { "<div><dt>\($0.name)</dt><dd>\($0.value)</dd></div>\n" }))</dl>

    """
  }
}
