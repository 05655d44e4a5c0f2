/// The name of a database object: quoted where it must be, never longer than PostgreSQL keeps.
public struct Identifier: Hashable, Sendable {
  /// PostgreSQL keeps 63 bytes of a name (`NAMEDATALEN - 1`; manual section 4.1.1).
  public static let maximumBytes = 63

  /// The name as the catalog stores it.
  public let name: String

  /// Takes a name as it is, without quotes.
  public init(_ name: String) {
    self.name = name
  }

  /// A generated name, cut to 63 bytes where it is longer: the suffix is kept and a checksum of the whole is put before
  /// it, so that two long names that begin alike stay two names.
  public init(base: String, suffix: String) {
    let whole = base + suffix
    guard whole.utf8.count > Self.maximumBytes else {
      self.init(whole)
      return
    }
    let checksum = "_" + String(FNV1a.hash(whole), radix: 16)
    var kept = base
    while kept.utf8.count + checksum.utf8.count + suffix.utf8.count > Self.maximumBytes, !kept.isEmpty {
      kept.removeLast()
    }
    self.init(kept + checksum + suffix)
  }

  /// The name as it stands in SQL text.
  public var quoted: String {
    let isPlain =
      name.utf8.first.map { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || $0 == UInt8(ascii: "_") } == true
      && name.utf8.allSatisfy {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
          || $0 == UInt8(ascii: "_")
      }
    // JAM's own names are plain words; anything that might be a keyword is quoted rather than looked up in a list that
    // grows with every version of PostgreSQL. A plain name holds an underscore or is known to be no keyword.
    if isPlain && (name.contains("_") && !Self.keywordsWithUnderscore.contains(name) || Self.plainWords.contains(name))
    {
      return name
    }
    return "\"\(name.replacingScalars("\"", with: "\"\""))\""
  }

  private static let keywordsWithUnderscore: Set<String> = [
    "current_catalog", "current_date", "current_role", "current_schema", "current_time", "current_timestamp",
    "current_user", "session_user", "system_user",
  ]

  private static let plainWords: Set<String> = [
    "balance", "bytes", "cutoff", "data", "delta", "engine", "expiry", "hash", "id", "kind", "memo", "name", "nonce",
    "owner", "public", "refcount", "signature", "size", "status", "traces", "uploader", "value", "version", "weight",
  ]
}

/// A name with what it belongs to: a table in its schema, or a column of a table.
public struct QualifiedName: Hashable, Sendable {
  /// The outer name.
  public let qualifier: Identifier
  /// The inner name.
  public let identifier: Identifier

  /// Creates a name from its two parts; neither is ever split at a dot.
  public init(_ qualifier: Identifier, _ identifier: Identifier) {
    self.qualifier = qualifier
    self.identifier = identifier
  }

  /// The name as it stands in SQL text.
  public var quoted: String { "\(qualifier.quoted).\(identifier.quoted)" }
}

/// FNV-1a, 64 bits: a checksum that is the same on every machine and in every version, unlike `Hasher`.
public enum FNV1a {
  /// The hash of the text's UTF-8.
  public static func hash(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}
