import CLibPQ
import SafeSQL

/// Where a database is and how to get in, parsed once so that its secrets are known from then on.
public struct ConnectionString: Sendable {
  /// One option that was given, as libpq names it.
  struct Option: Sendable {
    let keyword: String
    let value: String
    let isSecret: Bool
  }

  let options: [Option]

  /// Parses a URL (`postgresql://…`) or keywords and values (`host=… dbname=…`).
  ///
  /// `nil` or an empty text leaves everything to libpq: the `PG*` variables, the service and the password file. An error
  /// never repeats the text, since a misplaced quote or `@` makes a password look like anything else.
  ///
  /// Accepted is what libpq accepts, but for texts in which a password is likely to be somewhere else than libpq looks for
  /// it: a URL with a second `@`, a port that is no number, a value with `password=` in it. Nor can a text hold a NUL or a
  /// value be no UTF-8.
  public init(_ text: String?) throws(PostgresError) {
    guard let text, !text.isEmpty else {
      options = []
      return
    }
    guard !text.utf8.contains(0) else { throw .usage("the connection string holds a NUL character") }
    try Self.checkThatURLIsUnambiguous(text)

    var message: UnsafeMutablePointer<CChar>?
    guard let parsed = PQconninfoParse(text, &message) else {
      let reason = message.map { String(cString: $0).trimmedMessage } ?? "out of memory"
      PQfreemem(message)
      throw .usage("the connection string cannot be parsed: \(reason.withoutQuotations)")
    }
    defer { PQconninfoFree(parsed) }

    var options: [Option] = []
    var next = parsed
    while let keyword = next.pointee.keyword {
      if let value = next.pointee.val {
        let name = String(cString: keyword)
        // libpq marks with "*" what a dialogue should not show.
        let isMarked = next.pointee.dispchar.map { String(cString: $0) == "*" } ?? false
        // A URL may hold any byte as %xx; a password that was repaired to be text would be another one.
        guard let text = String(validatingCString: value) else {
          throw .usage("\(name) in the connection string is no UTF-8 text")
        }
        options.append(Option(keyword: name, value: text, isSecret: isMarked || name.contains("password")))
      }
      next += 1
    }
    // At the beginning, an @ means an abstract socket.
    let host = options.first { $0.keyword == "host" }?.value ?? ""
    if text.hasPrefix("postgres"), host.utf8.dropFirst().contains(UInt8(ascii: "@")) {
      throw .usage("the host in the connection string holds an @", hint: Self.percentEncodingHint)
    }
    let ports = options.first { $0.keyword == "port" }?.value ?? ""
    guard ports.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: ",") })
    else {
      throw .usage("the port in the connection string is not a number", hint: Self.percentEncodingHint)
    }
    guard !options.contains(where: { !$0.isSecret && $0.value.containsScalars("password=") }) else {
      throw .usage("a value in the connection string holds \"password=\"; is there a space or an & missing before it?")
    }
    self.options = options
  }

  /// Takes out every secret that an error of the connection might repeat.
  func redact(_ message: String) -> String {
    options.reduce(message) { text, option in
      // A shorter one would tear words apart, and says nothing by occurring.
      option.isSecret && option.value.utf8.count > 2
        ? text.replacingScalars(option.value, with: Self.redacted) : text
    }
  }

  private static let redacted = "[redacted]"

  private static let percentEncodingHint =
    "in a URL, write @ : / ? # % of a user name or password as %40 %3A %2F %3F %23 %25"

  /// Refuses a URL in which libpq would take the rest of a password for the host or the database, and then name it in
  /// its errors.
  private static func checkThatURLIsUnambiguous(_ text: String) throws(PostgresError) {
    guard let scheme = ["postgresql://", "postgres://"].first(where: { text.utf8.starts(with: $0.utf8) }) else {
      return
    }
    let address = text.utf8.dropFirst(scheme.utf8.count).prefix { $0 != UInt8(ascii: "?") }
    let authority = address.prefix { $0 != UInt8(ascii: "/") }
    let sign = UInt8(ascii: "@")
    guard authority.count(where: { $0 == sign }) <= 1, !address.dropFirst(authority.count).contains(sign) else {
      throw .usage("the URL of the database holds an @ that is not percent-encoded", hint: percentEncodingHint)
    }
  }
}

extension ConnectionString: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// The options that were given, with secrets replaced.
  public var description: String {
    guard !options.isEmpty else { return "libpq defaults" }
    return options.map { option in
      let value = option.isSecret ? Self.redacted : option.value
      let isPlain =
        !value.isEmpty && !value.unicodeScalars.contains { $0.properties.isWhitespace || $0 == "'" || $0 == "\\" }
      let quoted = "'\(value.replacingScalars("\\", with: "\\\\").replacingScalars("'", with: "\\'"))'"
      return "\(option.keyword)=\(isPlain ? value : quoted)"
    }.joined(separator: " ")
  }

  /// The same as ``description``: there is no way to print the secrets.
  public var debugDescription: String { description }

  /// Nothing inside: `dump` and string interpolation of a type that holds this one must not reach the secrets.
  public var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }
}

extension String {
  /// The text with whatever is in double quotes left out.
  fileprivate var withoutQuotations: String {
    let quote: Unicode.Scalar = "\""
    // The first and the last quote enclose everything that the user wrote, quotes of its own included.
    guard let first = unicodeScalars.firstIndex(of: quote), let last = unicodeScalars.lastIndex(of: quote), first < last
    else { return self }
    return "\(String(unicodeScalars[..<first]))\"…\(String(unicodeScalars[last...]))"
  }
}
