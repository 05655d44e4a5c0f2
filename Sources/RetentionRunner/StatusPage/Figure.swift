import SafeHTML

/// Numbers, moments and names as the page shows them: short for the eye, exact in the title.
enum Figure {
  /// `1,234,567`.
  static func count(_ number: Int) -> String {
    let digits = String(number.magnitude)
    var groups: [Substring] = []
    var rest = digits[...]
    while !rest.isEmpty {
      groups.append(rest.suffix(3))
      rest = rest.dropLast(3)
    }
    return (number < 0 ? "−" : "") + groups.reversed().joined(separator: ",")
  }

  /// The sum, or the largest number where that is exceeded: a size is whatever a client has written.
  static func sum(_ numbers: [Int]) -> Int {
    numbers.reduce(0) { sum, number in
      let (total, overflow) = sum.addingReportingOverflow(number)
      return overflow ? .max : total
    }
  }

  /// `3 blobs`, `1 blob`.
  static func count(_ number: Int, _ noun: String, plural: String? = nil) -> String {
    "\(count(number)) \(number.of(noun, plural: plural))"
  }

  /// `1.5 MB`, with the exact number in the title.
  static func bytes(_ number: Int) -> HTML {
    "<span title=\"\(count(number, "byte"))\">\(ByteCount.text(Int64(number)))</span>"
  }

  /// A moment to the minute, with the seconds in the title.
  static func time(_ moment: Moment) -> HTML { time(moment, shown: String("\(moment.day) \(moment.time.dropLast(3))")) }

  /// The day of a moment, with the time in the title.
  static func day(_ moment: Moment) -> HTML { time(moment, shown: moment.day) }

  private static func time(_ moment: Moment, shown: String) -> HTML {
    guard let machineReadable = moment.machineReadable else { return "<span>\(shown)</span>" }
    return "<time datetime=\"\(machineReadable)\" title=\"\(moment.text) UTC\">\(shown)</time>"
  }

  /// `3 h`: how long, in the largest unit that is not 0; `12.3 s` below a minute.
  static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite else { return "for ever" }
    guard seconds.magnitude >= 59.95 else { return "\((seconds * 10).rounded() / 10) s" }
    let minutes = (seconds / 60).rounded(.down)
    if minutes < 60 { return parts((minutes, "min"), ((seconds - minutes * 60).rounded(.down), "s")) }
    let hours = (minutes / 60).rounded(.down)
    if hours < 48 { return parts((hours, "h"), (minutes - hours * 60, "min")) }
    let days = (hours / 24).rounded(.down)
    return parts((days, "days"), days < 7 ? (hours - days * 24, "h") : (0, ""))
  }

  private static func parts(_ units: (number: Double, unit: String)...) -> String {
    units.filter { $0.number > 0 }.map { "\(count(Int($0.number))) \($0.unit)" }.joined(separator: " ")
  }

  /// A key, cut by the style sheet where it is too long; to select it takes all of it.
  static func hash(_ key: String) -> HTML {
    "<code class=\"hash\" title=\"\(key)\">\(key)</code>"
  }

  /// A word from a client, of any length, cut by the style sheet.
  static func word(_ word: String) -> HTML { "<bdi class=\"short\" title=\"\(word)\">\(word)</bdi>" }

  /// A name that somebody else has chosen; whatever its script, the text around it keeps its order.
  static func name(_ name: String) -> HTML { "<bdi>\(name)</bdi>" }
}
