import CLibPQ

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
        options.append(
          Option(keyword: name, value: String(cString: value), isSecret: isMarked || name.contains("password"))
        )
      }
      next += 1
    }
    // At the beginning, an @ means an abstract socket.
    let host = options.first { $0.keyword == "host" }?.value ?? ""
    if text.hasPrefix("postgres"), host.dropFirst().contains("@") {
      throw .usage("the host in the connection string holds an @", hint: Self.percentEncodingHint)
    }
    let ports = options.first { $0.keyword == "port" }?.value ?? ""
    guard ports.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: ",") })
    else {
      throw .usage("the port in the connection string is not a number", hint: Self.percentEncodingHint)
    }
    self.options = options
  }

  /// Takes out every secret that an error of the connection might repeat.
  func redact(_ message: String) -> String {
    options.reduce(message) { text, option in
      // A shorter one would tear words apart, and says nothing by occurring.
      option.isSecret && option.value.count > 2 ? text.replacing(option.value, with: Self.redacted) : text
    }
  }

  private static let redacted = "[redacted]"

  private static let percentEncodingHint =
    "in a URL, write @ : / ? # % of a user name or password as %40 %3A %2F %3F %23 %25"

  /// Refuses a URL in which libpq would take the rest of a password for the host or the database, and then name it in
  /// its errors.
  private static func checkThatURLIsUnambiguous(_ text: String) throws(PostgresError) {
    guard let scheme = ["postgresql://", "postgres://"].first(where: text.hasPrefix) else { return }
    let address = text.dropFirst(scheme.count).prefix { $0 != "?" }
    let authority = address.prefix { $0 != "/" }
    let signs = authority.count { $0 == "@" }
    guard signs <= 1, !address.dropFirst(authority.count).contains("@") else {
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
      let isPlain = !value.isEmpty && !value.contains { $0.isWhitespace || $0 == "'" || $0 == "\\" }
      let quoted = "'\(value.replacing("\\", with: "\\\\").replacing("'", with: "\\'"))'"
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
    let parts = split(separator: "\"", omittingEmptySubsequences: false)
    // The first and the last quote enclose everything that the user wrote, quotes of its own included.
    guard parts.count > 2, let first = parts.first, let last = parts.last else { return self }
    return "\(first)\"…\"\(last)"
  }
}
