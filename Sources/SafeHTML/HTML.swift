/// Markup that cannot be confused with other text.
///
/// A literal in the source is markup; a `String` or a number that is interpolated is text and gets escaped, so that
/// nothing a table holds can become markup. Another `HTML` stands as it is. `raw:` is the one door for a string that is
/// markup already. The values of attributes stand in double quotes.
public struct HTML: Equatable, Sendable, ExpressibleByStringInterpolation {
  /// The finished markup.
  public private(set) var text: String

  /// Takes a literal of the source as markup.
  public init(stringLiteral value: String) {
    text = value
  }

  /// Takes the interpolated literal as markup.
  public init(stringInterpolation: Interpolation) {
    self = stringInterpolation.html
  }

  /// Builds an ``HTML`` from an interpolated literal.
  public struct Interpolation: StringInterpolationProtocol {
    fileprivate var html: HTML = ""

    /// Called by the compiler.
    public init(literalCapacity: Int, interpolationCount: Int) {}

    /// The literal parts of the source.
    public mutating func appendLiteral(_ literal: String) {
      html.text += literal
    }

    /// Text, for a place between tags or inside a quoted attribute.
    public mutating func appendInterpolation(_ text: String) {
      html.text += text.escapedForHTML
    }

    /// A number.
    public mutating func appendInterpolation(_ number: some FixedWidthInteger) {
      html.text += String(number)
    }

    /// Markup.
    public mutating func appendInterpolation(_ fragment: HTML) {
      html.text += fragment.text
    }

    /// A string that is markup already: the one way in for what this type has not made.
    public mutating func appendInterpolation(raw markup: String) {
      html.text += markup
    }
  }

  /// Joins fragments.
  public static func joined(_ fragments: [HTML], separator: HTML = "") -> HTML {
    var result: HTML = ""
    result.text = fragments.map(\.text).joined(separator: separator.text)
    return result
  }
}

extension DefaultStringInterpolation {
  /// Markup in a `String` would be text from then on, and be escaped a second time.
  @available(*, unavailable, message: "interpolate it into an HTML")
  public mutating func appendInterpolation(_ fragment: HTML) {}
}

extension String {
  /// The text as characters that mean nothing to a parser of HTML; what nobody would see, or what would reorder the text
  /// around it, is named instead: `⟨U+202E⟩`.
  ///
  /// Source: HTML Living Standard, sections 13.1.2.3, Attributes, and 13.2.3.5, Preprocessing the input stream.
  fileprivate var escapedForHTML: String {
    var result = ""
    result.reserveCapacity(utf8.count)
    for scalar in unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      case _ where scalar.isUnseen: result += "⟨U+\(scalar.codePoint)⟩"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

extension Unicode.Scalar {
  /// Controls, marks of direction, and what is no character; not the line end, the tab and the two joiners, which
  /// scripts and emoji need.
  fileprivate var isUnseen: Bool {
    guard !["\n", "\t", "\u{200C}", "\u{200D}"].contains(self) else { return false }
    return switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: properties.isNoncharacterCodePoint
    }
  }

  fileprivate var codePoint: String {
    let digits = String(value, radix: 16, uppercase: true)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  }
}
