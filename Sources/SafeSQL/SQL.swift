/// SQL text that cannot be confused with other text.
///
/// A literal in the source is SQL; whatever is interpolated says what it is: an ``Identifier``, a ``QualifiedName``, a
/// `literal:`, an integer or another `SQL`. A `String` cannot be interpolated by mistake; `raw:` is the one door for text
/// that is SQL already.
///
/// A fragment of several lines takes over the indentation of the line into which it is interpolated, so that composed
/// statements stay readable. Quoted names and values are never re-indented.
public struct SQL: Equatable, Sendable, ExpressibleByStringInterpolation {
  private enum Piece: Equatable, Sendable {
    case text(String)
    case quoted(String)
  }

  private var pieces: [Piece] = []

  /// Takes a literal of the source as SQL.
  public init(stringLiteral value: String) {
    pieces = [.text(value)]
  }

  /// Takes the interpolated literal as SQL.
  public init(stringInterpolation: Interpolation) {
    self = stringInterpolation.sql
  }

  private init() {}

  /// The finished text. Lines of it end without spaces, except where a quoted name or value has them.
  public var text: String {
    var result = ""
    var run = ""
    for piece in pieces {
      switch piece {
      case .text(let text): run += text
      case .quoted(let text):
        result += run.withoutTrailingSpaces + text
        run = ""
      }
    }
    return result + run.withoutTrailingSpaces
  }

  /// Whether there is no text at all.
  public var isEmpty: Bool { text.isEmpty }

  private mutating func append(_ other: SQL, indentedBy indentation: String) {
    for piece in other.pieces {
      switch piece {
      case .quoted:
        pieces.append(piece)
      case .text(let text):
        pieces.append(.text(indentation.isEmpty ? text : text.indented(by: indentation)))
      }
    }
  }

  /// The white space at the beginning of the current line.
  private var currentIndentation: String {
    var line = ""
    for piece in pieces.reversed() {
      switch piece {
      case .quoted(let text): line = text + line
      case .text(let text):
        let end = text.lastIndex(of: "\n").map(text.index(after:))
        line = text[(end ?? text.startIndex)...] + line
        if end != nil { return String(line.prefix { $0 == " " }) }
      }
    }
    return String(line.prefix { $0 == " " })
  }

  /// Builds an ``SQL`` from an interpolated literal.
  public struct Interpolation: StringInterpolationProtocol {
    fileprivate var sql = SQL()

    /// Called by the compiler.
    public init(literalCapacity: Int, interpolationCount: Int) {}

    /// The literal parts of the source.
    public mutating func appendLiteral(_ literal: String) {
      sql.pieces.append(.text(literal))
    }

    /// A fragment, indented like the line that it stands in.
    public mutating func appendInterpolation(_ fragment: SQL) {
      sql.append(fragment, indentedBy: sql.currentIndentation)
    }

    /// A name, quoted where PostgreSQL needs it.
    public mutating func appendInterpolation(_ name: Identifier) {
      sql.pieces.append(.quoted(name.quoted))
    }

    /// A name with its schema or table.
    public mutating func appendInterpolation(_ name: QualifiedName) {
      sql.pieces.append(.quoted(name.quoted))
    }

    /// A number.
    public mutating func appendInterpolation(_ number: some FixedWidthInteger) {
      sql.pieces.append(.quoted(String(number)))
    }

    /// A string value as a quoted literal.
    public mutating func appendInterpolation(literal value: String) {
      sql.pieces.append(.quoted(value.sqlLiteral))
    }

    /// Text that is SQL already: the one way in for text that this type has not made.
    public mutating func appendInterpolation(raw text: String) {
      sql.pieces.append(.quoted(text))
    }

    /// Text for the inside of a `--` or `/* */` comment: control characters and comment marks lose their effect.
    public mutating func appendInterpolation(comment text: String) {
      let visible = text.unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{FFFD}" : String($0) }
      sql.pieces.append(
        .quoted(
          visible.joined()
            .replacingScalars("*/", with: "* /")
            .replacingScalars("/*", with: "/ *")
        )
      )
    }
  }
}

extension SQL {
  /// Joins fragments.
  public static func joined(_ fragments: [SQL], separator: SQL = ",\n") -> SQL {
    var result = SQL()
    for (position, fragment) in fragments.enumerated() {
      if position > 0 { result.pieces += separator.pieces }
      result.pieces += fragment.pieces
    }
    return result
  }

  /// A dollar-quoted string with a tag that does not occur in it, so that no body can break out.
  ///
  /// Source: PostgreSQL manual, section 4.1.2.4, Dollar-Quoted String Constants.
  public func dollarQuoted(tag: String = "jam") -> SQL {
    let body = text
    var chosen = tag
    var attempt = 1
    while body.containsScalars("$\(chosen)$") || body.hasSuffix("$\(chosen)") {
      attempt += 1
      chosen = "\(tag)\(attempt)"
    }
    return "$\(raw: chosen)$\n\(raw: body)\n$\(raw: chosen)$"
  }
}

extension SQL: CustomStringConvertible {
  /// The finished text.
  public var description: String { text }
}

extension String {
  /// The value as a string literal that means the same whatever `standard_conforming_strings` says.
  fileprivate var sqlLiteral: String {
    let doubled = replacingScalars("'", with: "''")
    guard doubled.containsScalars("\\") else { return "'\(doubled)'" }
    return "E'\(doubled.replacingScalars("\\", with: "\\\\"))'"
  }

  /// The last line keeps its spaces: something may follow it.
  fileprivate var withoutTrailingSpaces: String {
    let lines = split(separator: "\n", omittingEmptySubsequences: false)
    let trimmed = lines.dropLast().map { line in
      String(line.prefix(line.count - line.reversed().prefix { $0 == " " }.count))
    }
    return (trimmed + lines.suffix(1).map(String.init)).joined(separator: "\n")
  }

  fileprivate func indented(by indentation: String) -> String {
    let lines = split(separator: "\n", omittingEmptySubsequences: false)
    return lines.enumerated().map { position, line in
      // The last line goes on with the piece that follows, even if it is empty here.
      position == 0 || line.isEmpty && position < lines.count - 1 ? String(line) : indentation + line
    }.joined(separator: "\n")
  }
}
