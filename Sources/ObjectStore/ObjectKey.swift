/// The rules that every key keeps, whatever the store.
enum ObjectKey {
  private static let longest = 1024

  static func check(_ key: String, doing operation: String) throws {
    let mistake: String? =
      if key.isEmpty {
        "the key is empty"
      } else if key.utf8.count > longest {
        "the key has \(key.utf8.count) bytes; \(longest) is the most"
      } else if key.unicodeScalars.contains(where: isForbidden) {
        "the key contains a control character or no character at all"
      } else if key.split(separator: "/").contains(where: { $0 == "." || $0 == ".." }) {
        "a part of the key is . or .., which servers do not treat alike"
      } else {
        nil
      }
    if let mistake { throw ObjectStoreError(.invalidKey, doing: operation, mistake) }
  }

  /// What XML 1.0 cannot hold, and the rest of the control characters.
  private static func isForbidden(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.generalCategory == .control || scalar.properties.isNoncharacterCodePoint
  }

  /// A key as an error shows it.
  static func quoted(_ key: String) -> String {
    key.count <= 200 ? key.debugDescription : "\(String(key.prefix(200)).debugDescription)…"
  }
}
